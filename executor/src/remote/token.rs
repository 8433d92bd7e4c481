//! The secret that a server and those who may use it share.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The environment variable that a token is read from where no file is named.
const VARIABLE: &str = "RLTRAIN_EXECUTOR_TOKEN";

/// Shortest token, in characters.
const LEAST: usize = 16;

/// A shared secret. Never on a command line, where every user of the machine sees it, and never in a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was found cannot be one.
    #[error("the token in {place} has {found}, wanted at least {LEAST} visible ASCII characters on one line")]
    Unfit {
        /// The file or variable.
        place: String,
        /// What is wrong with it.
        found: String,
    },
}

impl Token {
    /// The token in `file`, or else in the environment variable `RLTRAIN_EXECUTOR_TOKEN`; `None` without either.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its content, without white space around it, is not at least 16 visible ASCII characters.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, TokenError> {
        let (place, text) = match file {
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
                (format!("`{}`", path.display()), text)
            }
            None => match std::env::var_os(VARIABLE) {
                Some(text) => (format!("the variable {VARIABLE}"), text.to_string_lossy().into_owned()),
                None => return Ok(None),
            },
        };
        Self::new(text.trim(), place).map(Some)
    }

    fn new(text: &str, place: String) -> Result<Self, TokenError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Unfit { place, found: "other characters".to_owned() });
        }
        if text.len() < LEAST {
            return Err(TokenError::Unfit { place, found: format!("{} characters", text.len()) });
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the header `Authorization` that shows this token.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether the value of a header `Authorization` shows this token. Takes as long whatever is wrong with it.
    pub(crate) fn is_shown_by(&self, header: &[u8]) -> bool {
        // Hashes are compared in constant time.
        blake3::hash(header) == blake3::hash(self.header().as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_a_file_and_hidden_in_messages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let find = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Token::find(Some(&path))
        };
        let token = find("0123456789abcdef\n").unwrap().unwrap();
        assert!(token.is_shown_by(b"Bearer 0123456789abcdef"));
        for wrong in
            ["", "Bearer ", "0123456789abcdef", "Bearer 0123456789abcdeg", "Bearer 0123456789abcdef "]
        {
            assert!(!token.is_shown_by(wrong.as_bytes()), "{wrong}");
        }
        assert!(!format!("{token:?}").contains("0123"));
        for unfit in ["", "short", "two words of a token", "0123456789abcdef\n0123456789abcdef"] {
            let message = find(unfit).unwrap_err().to_string();
            assert!(message.contains("wanted at least 16 visible"), "{message}");
        }
        assert!(Token::find(Some(Path::new("/nowhere"))).unwrap_err().to_string().contains("/nowhere"));
    }
}
