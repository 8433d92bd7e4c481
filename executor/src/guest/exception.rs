//! What is to be known of an exception that reached the host: how the program ended by it, and in which line.

use super::{Author, Broken, Guest, PROGRAM_NAME};
use crate::value::Value;
use crate::{Cause, Ending, Outcome};

/// Entries of a traceback that are looked at.
const MOST_FRAMES: usize = 1000;

impl Guest {
    /// Takes the pending exception, sorts it, and writes it to stderr.
    pub(super) fn take_exception(&mut self, author: Author) -> Result<Ending, Broken> {
        let exception = self.call_function(|functions| &functions.raised, ())?;
        let kinds = [
            (self.objects.assertion_error, Outcome::Failed),
            (self.objects.system_exit, Outcome::Exited),
            (self.objects.memory_error, Outcome::OutOfMemory),
            (self.objects.recursion_error, Outcome::StackOverflow),
        ];
        let mut outcome = Outcome::Raised;
        for (kind, sorted) in kinds {
            if self.call_function(|functions| &functions.matches, (exception, kind))? != 0 {
                outcome = sorted;
                break;
            }
        }
        let line = self.line(exception, author)?;
        let cause = self.describe(exception, line)?;
        if outcome == Outcome::Exited {
            self.left_normally = self.is_normal_exit(exception)?;
        }
        Ok(Ending::because(outcome, cause))
    }

    /// What is known of an exception. Writes `Kind: message` to stderr.
    fn describe(&mut self, exception: u32, line: Option<u32>) -> Result<Cause, Broken> {
        let kind = self.kind(exception)?;
        let name = self.call_function(|functions| &functions.type_name, kind)?;
        let kind = self.read_text(name)?;
        // The message may be the program's own code; it runs within the same limits.
        let message = self.call_function(|functions| &functions.text, exception)?;
        let message = self.read_text(message)?;
        let told = Cause::Exception { kind: kind.clone(), message: message.clone(), line: None };
        self.note(&told.to_string());
        Ok(Cause::Exception { kind, message, line })
    }

    /// Address of the type of an object.
    fn kind(&self, object: u32) -> Result<u32, Broken> {
        const TYPE_FIELD: u32 = 4;
        let kind = self.read(object.saturating_add(TYPE_FIELD), 4)?;
        Ok(u32::from_le_bytes([kind[0], kind[1], kind[2], kind[3]]))
    }

    /// Line of the program that an exception last passed through; for source that does not compile, the line of the mistake.
    fn line(&mut self, exception: u32, author: Author) -> Result<Option<u32>, Broken> {
        let mut entry = self.call_function(|functions| &functions.traceback, exception)?;
        if entry == 0 {
            return if author == Author::Program { self.number(exception, "lineno") } else { Ok(None) };
        }
        let kind = self.kind(entry)?;
        let mut line = None;
        for _ in 0..MOST_FRAMES {
            if self.is_in_program(entry)? {
                line = self.number(entry, "tb_lineno")?.or(line);
            }
            entry = match self.attribute(entry, "tb_next")? {
                Some(next) if self.kind(next)? == kind => next,
                _ => break,
            };
        }
        Ok(line)
    }

    fn is_in_program(&mut self, entry: u32) -> Result<bool, Broken> {
        let mut object = entry;
        for name in ["tb_frame", "f_code", "co_filename"] {
            match self.attribute(object, name)? {
                Some(value) => object = value,
                None => return Ok(false),
            }
        }
        Ok(object == self.objects.program_name || self.read_text(object)? == PROGRAM_NAME)
    }

    /// An attribute of an object that the interpreter made; `None` if it has none of that name.
    fn attribute(&mut self, object: u32, name: &str) -> Result<Option<u32>, Broken> {
        let name = self.place(name.as_bytes())?;
        let value = self.call_function(|functions| &functions.attribute, (object, name))?;
        self.call_function(|functions| &functions.free, name)?;
        if value == 0 {
            self.call_function(|functions| &functions.clear, ())?;
        }
        Ok((value != 0).then_some(value))
    }

    fn number(&mut self, object: u32, name: &str) -> Result<Option<u32>, Broken> {
        let Some(value) = self.attribute(object, name)? else { return Ok(None) };
        let number = self.call_function(|functions| &functions.long, value)?;
        if number < 0 {
            self.call_function(|functions| &functions.clear, ())?;
        }
        Ok(u32::try_from(number).ok().filter(|number| *number > 0))
    }

    /// Whether the code of a `SystemExit` means success.
    fn is_normal_exit(&mut self, exception: u32) -> Result<bool, Broken> {
        let Some(code) = self.attribute(exception, "code")? else { return Ok(false) };
        let code = self.marshal(code)?.and_then(|bytes| Value::read(&bytes).ok());
        Ok(code.is_some_and(|code| code == Value::None || code.equals(&Value::of_json(&0.into()))))
    }
}
