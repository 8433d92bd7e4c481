//! An open GGUF file: its metadata, with every question answered or refused by name, and its tensors.

use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use fs_err as fs;

use super::ImportError;

/// First four bytes of every GGUF file.
const MAGIC: [u8; 4] = *b"GGUF";

/// Characters of a metadata value that an error message shows.
const SHOWN: usize = 60;

/// A GGUF file whose header was read. Tensors stay on disk until they are asked for.
pub(super) struct Gguf {
    path: PathBuf,
    file: fs::File,
    bytes: u64,
    content: Content,
}

impl Gguf {
    /// Opens the file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Gguf, ImportError> {
        let mut file = fs::File::open(path).map_err(ImportError::read(path))?;
        let bytes = file.metadata().map_err(ImportError::read(path))?.len();
        let mut magic = Vec::new();
        file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(ImportError::read(path))?;
        if magic != MAGIC {
            return Err(ImportError::NotGguf { file: path.to_owned(), found: beginning(&magic) });
        }
        file.seek(SeekFrom::Start(0)).map_err(ImportError::read(path))?;
        let header = |found: String| ImportError::Header { file: path.to_owned(), found };
        // The library checks lengths against the file's, but divides by the alignment that the file names: a
        // file that says 0 must cost a message, not the process.
        let content = catch_unwind(AssertUnwindSafe(|| Content::read(&mut file)))
            .map_err(|_| header("the GGUF library cannot cope with it".to_owned()))?
            .map_err(|source| header(source.to_string()))?;
        Ok(Gguf { path: path.to_owned(), file, bytes, content })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The value of `key`.
    pub(super) fn find(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    fn required<T>(&self, key: &str, wanted: &'static str, found: Option<T>) -> Result<T, ImportError> {
        found.ok_or_else(|| ImportError::MissingKey { file: self.path.clone(), key: key.to_owned(), wanted })
    }

    /// The error for a key that holds something else than wanted.
    pub(super) fn wrong(&self, key: &str, wanted: impl Into<String>) -> ImportError {
        let found = self.find(key).map_or_else(|| "absent".to_owned(), show);
        ImportError::Key { file: self.path.clone(), key: key.to_owned(), found, wanted: wanted.into() }
    }

    /// The error for a feature that is not implemented.
    pub(super) fn unsupported(&self, key: &str, found: &str, wanted: impl Into<String>) -> ImportError {
        let (file, wanted) = (self.path.clone(), wanted.into());
        ImportError::Unsupported { file, key: key.to_owned(), found: found.to_owned(), wanted }
    }

    /// A text, if the key is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, ImportError> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, key: &str) -> Result<&str, ImportError> {
        self.required(key, "a text", self.text(key)?)
    }

    /// Yes or no, if the key is there.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ImportError> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A number of things or an id, if the key is there. Bounded, so that products of a few cannot overflow.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, ImportError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let count = whole(value).and_then(|n| u32::try_from(n).ok());
        count.map(|n| Some(n as usize)).ok_or_else(|| self.wrong(key, "a whole number below 2^32"))
    }

    /// A size: a count that must be there and is not 0.
    pub(super) fn size(&self, key: &str) -> Result<usize, ImportError> {
        match self.required(key, "a positive whole number", self.count(key)?)? {
            0 => Err(self.wrong(key, "a positive whole number")),
            size => Ok(size),
        }
    }

    /// A positive number, if the key is there.
    ///
    /// GGUF stores f32. The shortest decimal that rounds to it is what the converter was given: 1e-5, not
    /// 9.999999747378752e-6.
    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, ImportError> {
        let number = match self.find(key) {
            None => return Ok(None),
            Some(Value::F32(number)) => number.to_string().parse().ok(),
            Some(Value::F64(number)) => Some(*number),
            Some(_) => None,
        };
        let number = number.filter(|n: &f64| n.is_finite() && *n > 0.0);
        number.map(Some).ok_or_else(|| self.wrong(key, "a positive number"))
    }

    /// A positive number that must be there.
    pub(super) fn required_positive(&self, key: &str) -> Result<f64, ImportError> {
        self.required(key, "a positive number", self.positive(key)?)
    }

    /// A list of texts that must be there.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, ImportError> {
        let wanted = "a list of texts";
        let Value::Array(values) = self.required(key, wanted, self.find(key))? else {
            return Err(self.wrong(key, wanted));
        };
        let texts = values.iter().map(|value| value.to_string().ok().map(String::as_str));
        texts.collect::<Option<_>>().ok_or_else(|| self.wrong(key, wanted))
    }

    /// A list of whole numbers, if the key is there.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<i64>>, ImportError> {
        let wanted = || self.wrong(key, "a list of whole numbers");
        match self.find(key) {
            None => Ok(None),
            Some(Value::Array(values)) => {
                values.iter().map(whole).collect::<Option<Vec<i64>>>().map(Some).ok_or_else(wanted)
            }
            Some(_) => Err(wanted()),
        }
    }

    /// Whether the file has a tensor called `name`.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// Checks that the file has a tensor called `name`, of this shape, with all its bytes.
    pub(super) fn check_tensor(&self, name: &str, wanted: &[usize]) -> Result<(), ImportError> {
        let file = || self.path.clone();
        let Some(info) = self.content.tensor_infos.get(name) else {
            return Err(ImportError::MissingTensor { file: file(), name: name.to_owned() });
        };
        let found = info.shape.dims();
        if found != wanted {
            let (found, wanted) = (found.to_vec(), wanted.to_vec());
            return Err(ImportError::Shape { file: file(), name: name.to_owned(), found, wanted });
        }
        // Metadata counts are below 2^32 and matrices have two of them, so the product fits.
        let elements: u64 = wanted.iter().map(|n| *n as u64).product();
        let bytes =
            (elements / info.ggml_dtype.block_size() as u64).checked_mul(info.ggml_dtype.type_size() as u64);
        let end = bytes
            .and_then(|bytes| bytes.checked_add(info.offset))
            .and_then(|end| end.checked_add(self.content.tensor_data_offset))
            .unwrap_or(u64::MAX);
        if end > self.bytes {
            let (found, wanted) = (self.bytes, end);
            return Err(ImportError::Truncated { file: file(), name: name.to_owned(), found, wanted });
        }
        Ok(())
    }

    /// Names of the tensors, sorted.
    pub(super) fn tensor_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.content.tensor_infos.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Reads one tensor and dequantises it: f32, row-major.
    pub(super) fn read_tensor(&mut self, name: &str) -> Result<Vec<f32>, ImportError> {
        let values = self
            .content
            .tensor(&mut self.file, name, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu))
            .and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>());
        values.map_err(|source| ImportError::Header {
            file: self.path.clone(),
            found: format!("tensor `{name}`: {source}"),
        })
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::U8(n) => Some(i64::from(*n)),
        Value::I8(n) => Some(i64::from(*n)),
        Value::U16(n) => Some(i64::from(*n)),
        Value::I16(n) => Some(i64::from(*n)),
        Value::U32(n) => Some(i64::from(*n)),
        Value::I32(n) => Some(i64::from(*n)),
        Value::U64(n) => i64::try_from(*n).ok(),
        Value::I64(n) => Some(*n),
        _ => None,
    }
}

/// A value as an error message shows it.
fn show(value: &Value) -> String {
    let text = match value {
        Value::Array(values) => return format!("a list of {}", values.len()),
        Value::String(text) => format!("{text:?}"),
        Value::Bool(flag) => flag.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        other => whole(other).map_or_else(|| format!("{other:?}"), |n| n.to_string()),
    };
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

fn beginning(magic: &[u8]) -> String {
    if magic.is_empty() { "nothing".to_owned() } else { format!("`{}`", magic.escape_ascii()) }
}
