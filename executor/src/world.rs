//! What a program finds when it starts: arguments, stdin, files. The same bytes in every run.

use std::sync::Arc;

use crate::files::{Content, Files, FilesError};

/// Where the interpreters look for their standard library, each in a place of its own. What is there is the one that runs.
const STDLIB: [&str; 2] = ["/usr/local/lib/python315.zip", "/usr/local/lib/python311.zip"];

/// What a program finds when it starts. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Arguments, the program's name first.
    pub(crate) arguments: Arc<[String]>,
    /// What can be read from stdin.
    pub(crate) stdin: Arc<[u8]>,
    /// What can be opened.
    pub(crate) files: Arc<Files>,
}

impl World {
    /// The world of a program that is compiled to WebAssembly, or of an interpreter that is started for one.
    pub(crate) fn of_command(
        arguments: impl IntoIterator<Item = String>,
        stdin: impl Into<Arc<[u8]>>,
        files: Files,
    ) -> Self {
        Self { arguments: arguments.into_iter().collect(), stdin: stdin.into(), files: Arc::new(files) }
    }

    /// The world of a Python program: the standard library, stdin, and further files.
    pub(crate) fn of_python(
        stdlib: &Content,
        stdin: impl Into<Arc<[u8]>>,
        files: impl IntoIterator<Item = (String, Content)>,
    ) -> Result<Self, FilesError> {
        let stdlib = STDLIB.map(|path| (path.to_owned(), stdlib.clone()));
        let files = Files::new(stdlib.into_iter().chain(files))?;
        Ok(Self { arguments: Arc::default(), stdin: stdin.into(), files: Arc::new(files) })
    }
}
