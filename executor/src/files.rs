//! The files of a program's world: a tree in memory that never changes.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use thiserror::Error;

/// What a file holds. Shared: the standard library is the same in every world.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Bytes of its own.
    Owned(Arc<Vec<u8>>),
    /// A file of the host as it lies on the disk. All workers have it in memory once, and starting one costs no reading.
    Mapped(Arc<Mmap>),
}

impl Content {
    /// The content of a file that nobody changes while this lives: what is pinned by its hash, or in a folder of the user's alone.
    #[expect(unsafe_code, reason = "a mapping changes with its file")]
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        // SAFETY: the file is one of those that this program or its user's `make fetch` has written, whole, aside and renamed.
        // Where somebody cuts it short all the same, the worker that reads it ends, which costs a job and not the run.
        let mapped = unsafe { Mmap::map(&File::open(path)?)? };
        Ok(Self::Mapped(Arc::new(mapped)))
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(Arc::new(bytes))
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(mapped) => mapped,
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Content {}

/// Files that a tree may hold: what looking through a folder costs stays bounded.
const MOST_FILES: usize = 1000;

/// Why files do not make a tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FilesError {
    /// A path is not one that a program could open.
    #[error(
        "the path `{0}` of a file must begin with `/`, end with a name, and have no empty, `.` or `..` part and no zero byte"
    )]
    BadPath(String),
    /// Two files have one path, or one is a folder of the other.
    #[error("there is more than one file at `{0}`, or it is a file and a folder")]
    Clash(String),
    /// There are too many.
    #[error("there are {0} files, wanted at most {MOST_FILES}")]
    TooMany(usize),
}

/// A tree without files.
impl Default for Files {
    fn default() -> Self {
        Self { entries: vec![Entry { path: String::new(), content: None }] }
    }
}

/// A file or folder: its place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(usize);

/// Files under absolute paths, and the folders that they lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// In the order of their paths, which have no final slash: the root is the empty path, and first.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    /// Absent for a folder.
    content: Option<Content>,
}

impl Files {
    /// The folder that all others are in.
    pub(crate) const ROOT: Node = Node(0);

    /// A tree of these files.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, Content)>) -> Result<Self, FilesError> {
        let mut entries = vec![Entry { path: String::new(), content: None }];
        for (count, (path, content)) in files.into_iter().enumerate() {
            if count >= MOST_FILES {
                return Err(FilesError::TooMany(count + 1));
            }
            let parts = path.strip_prefix('/').map(|rest| rest.split('/'));
            let is_part =
                |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
            if !parts.is_some_and(|mut parts| parts.all(is_part)) {
                return Err(FilesError::BadPath(path));
            }
            let folders = path.match_indices('/').skip(1).map(|(end, _)| &path[..end]);
            entries.extend(folders.map(|folder| Entry { path: folder.to_owned(), content: None }));
            entries.push(Entry { path, content: Some(content) });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path && a.content.is_none() && b.content.is_none());
        match entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
            Some(pair) => Err(FilesError::Clash(pair[0].path.clone())),
            None => Ok(Self { entries }),
        }
    }

    /// What is at `path`, seen from the folder `from`: parts that say nothing are skipped, and nothing is above the root.
    pub(crate) fn find(&self, from: &str, path: &[u8]) -> Option<Node> {
        let path = std::str::from_utf8(path).ok()?;
        let mut full =
            if path.starts_with('/') { String::new() } else { from.trim_end_matches('/').to_owned() };
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => full.truncate(full.rfind('/').unwrap_or(0)),
                part => {
                    full.push('/');
                    full.push_str(part);
                }
            }
        }
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(&full)).ok().map(Node)
    }

    /// The content of a file; `None` for a folder.
    pub(crate) fn content(&self, node: Node) -> Option<&Content> {
        self.entries.get(node.0)?.content.as_ref()
    }

    /// Absolute path.
    pub(crate) fn path(&self, node: Node) -> &str {
        self.entries.get(node.0).map_or("", |entry| &entry.path)
    }

    /// A number that no other file or folder of the tree has; never zero.
    pub(crate) fn number(node: Node) -> u64 {
        node.0 as u64 + 1
    }

    /// The names in a folder and what they stand for, in order, itself and the folder above first.
    pub(crate) fn list(&self, folder: Node) -> impl Iterator<Item = (&str, Node)> {
        let path = self.path(folder);
        let above = self.find(path, b"..").unwrap_or(folder);
        let inside = self.entries.iter().enumerate().filter_map(move |(index, entry)| {
            let name = entry.path.strip_prefix(path)?.strip_prefix('/')?;
            (!name.contains('/')).then_some((name, Node(index)))
        });
        [(".", folder), ("..", above)].into_iter().chain(inside)
    }

    /// How many files and folders there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(paths: &[&str]) -> Result<Files, FilesError> {
        Files::new(paths.iter().map(|path| ((*path).to_owned(), path.as_bytes().to_vec().into())))
    }

    #[test]
    fn files_are_found_from_any_folder_and_by_roundabout_paths() {
        let files = tree(&["/data/in/numbers.txt", "/data/words.txt", "/top"]).unwrap();
        let found = |from, path: &str| files.find(from, path.as_bytes()).map(|node| files.path(node));
        assert_eq!(found("/", "data/words.txt"), Some("/data/words.txt"));
        assert_eq!(found("/data", "in/../words.txt"), Some("/data/words.txt"));
        assert_eq!(found("/data/in", ".//./numbers.txt"), Some("/data/in/numbers.txt"));
        assert_eq!(found("/data", "../../../top"), Some("/top"));
        assert_eq!(found("/data", "/top"), Some("/top"));
        assert_eq!(found("/data", "."), Some("/data"));
        assert_eq!(found("/", ""), Some(""));
        assert_eq!(found("/data", "words"), None);
        assert_eq!(files.find("/", b"\xff"), None);
    }

    #[test]
    fn a_folder_lists_what_is_directly_in_it() {
        let files = tree(&["/b/x/deep", "/b/y", "/bb", "/a"]).unwrap();
        let names = |path: &[u8]| -> Vec<&str> {
            files.list(files.find("/", path).unwrap()).map(|(name, _)| name).collect()
        };
        assert_eq!(names(b"/"), [".", "..", "a", "b", "bb"]);
        assert_eq!(names(b"/b"), [".", "..", "x", "y"]);
        let content =
            |path: &[u8]| files.content(files.find("/", path).unwrap()).map(|content| content.len());
        assert_eq!((content(b"/b/y"), content(b"/b/x")), (Some(4), None));
    }

    #[test]
    fn paths_that_no_program_could_open_are_refused() {
        for path in ["", "/", "a", "a/b", "/a/", "//a", "/a/../b", "/./a", "/a\0"] {
            assert_eq!(tree(&[path]), Err(FilesError::BadPath(path.to_owned())), "{path:?}");
        }
        assert_eq!(tree(&["/a", "/b", "/a"]), Err(FilesError::Clash("/a".to_owned())));
        assert_eq!(tree(&["/a", "/a/b"]), Err(FilesError::Clash("/a".to_owned())));
        let many: Vec<String> = (0..1001).map(|number| format!("/{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(tree(&many), Err(FilesError::TooMany(1001)));
    }

    proptest! {
        #[test]
        fn looking_up_arbitrary_paths_never_panics(from in "(/[ab]){0,3}", path in "[ab./]{0,20}") {
            let files = tree(&["/a/b", "/b/a/b"]).unwrap();
            if let Some(node) = files.find(&from, path.as_bytes()) {
                prop_assert!(files.list(node).count() >= 2);
            }
        }
    }
}
