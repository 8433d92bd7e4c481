# What is to be known of an exception: its class, the exit status that it stands for, the line of the program, and its message.
rescue Exception => error
  status = SystemExit === error ? error.status : nil
  line = error.backtrace_locations&.find { |place| place.path == "/program.rb" }&.lineno
  [error.class, status, line, error.message].join("\n")
end
