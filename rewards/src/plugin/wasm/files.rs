//! What a component may read: the files and folders that its table in the recipe grants, and no others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Granted files and folders by the name that a component has for them, which is the last one of their paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Granted {
    by_name: BTreeMap<String, PathBuf>,
    most_bytes: u64,
}

impl Granted {
    /// `paths`, of which no content longer than `most_bytes` is read at once.
    ///
    /// # Errors
    ///
    /// If a path has no last name, or two have the same.
    pub(super) fn new(paths: &[PathBuf], most_bytes: u64) -> Result<Self, String> {
        let mut by_name = BTreeMap::new();
        for path in paths {
            let shown = path.display();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| {
                format!("`{shown}` in `files` does not end in a name, wanted a file or a folder")
            })?;
            if by_name.insert(name.to_owned(), path.clone()).is_some() {
                return Err(format!(
                    "`files` has two that are called `{name}`, and a component could not tell which it reads"
                ));
            }
        }
        Ok(Self { by_name, most_bytes })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The content of a file by its name: that of a granted file, or `FOLDER/…` of one in a granted folder. Links that lead out of
    /// what is granted are not followed.
    ///
    /// # Errors
    ///
    /// In words for the component, which learn it nothing about what is not granted.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.path_of(name).ok_or_else(|| format!("no file `{name}` is granted"))?;
        let bytes = fs::metadata(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))?.len();
        if bytes > self.most_bytes {
            return Err(format!("`{name}` has {bytes} bytes, more than the component's memory holds"));
        }
        fs::read(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))
    }

    /// Where the file with this name lies, if there is one that is granted.
    fn path_of(&self, name: &str) -> Option<PathBuf> {
        let mut names = Path::new(name).components();
        let Some(Component::Normal(first)) = names.next() else { return None };
        let below = names.as_path();
        if below.components().any(|part| !matches!(part, Component::Normal(_))) {
            return None;
        }
        let granted = fs::canonicalize(self.by_name.get(first.to_str()?)?).ok()?;
        // `join` with nothing would ask for a folder of the file's name.
        let path = if below.as_os_str().is_empty() { granted.clone() } else { granted.join(below) };
        let path = fs::canonicalize(path).ok()?;
        (path.starts_with(&granted) && path.is_file()).then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_granted_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("data/deep")).unwrap();
        for (name, text) in
            [("words.txt", "a b"), ("secret", "s"), ("data/deep/x", "x"), ("long", "12345678901")]
        {
            fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(at("secret"), at("data/out")).unwrap();
        std::os::unix::fs::symlink(at("data/deep/x"), at("data/in")).unwrap();
        let granted = Granted::new(&[at("words.txt"), at("data"), at("long")], 10).unwrap();
        assert_eq!(granted.read("words.txt").unwrap(), b"a b");
        assert_eq!(granted.read("data/deep/x").unwrap(), b"x");
        assert_eq!(granted.read("data/in").unwrap(), b"x", "a link within the folder");
        let secret = at("secret");
        for name in [
            "",
            "secret",
            "data",
            "data/..",
            "data/../secret",
            "../secret",
            "data/out",
            "words.txt/x",
            "data/none",
        ]
        .into_iter()
        .chain(secret.to_str())
        {
            let refused = granted.read(name).unwrap_err();
            assert_eq!(refused, format!("no file `{name}` is granted"), "{name}");
        }
        assert!(granted.read("long").unwrap_err().contains("11 bytes"));
    }

    #[test]
    fn every_grant_has_a_name_of_its_own() {
        let refused = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            Granted::new(&paths, 1).unwrap_err()
        };
        assert!(refused(&["a/words", "b/words"]).contains("two that are called `words`"));
        assert!(refused(&["a/.."]).contains("does not end in a name"));
    }
}
