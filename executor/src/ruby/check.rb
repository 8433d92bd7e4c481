# Compiles the program, and does not run it.
begin
  RubyVM::InstructionSequence.compile(File.read("/program.rb"), "/program.rb", "/program.rb")
  ""
