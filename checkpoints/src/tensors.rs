//! Safetensors files, written and read one tensor at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError, View};

use crate::disk::Disk;
use crate::durable;
use crate::error::{ReadError, WriteError};
use crate::manifest::file_size;

/// Bytes of the little-endian header length at the start of a file.
const LENGTH_BYTES: u64 = 8;

/// Room for some hundred thousand tensors. The header is the only part of a file whose size is believed before it is read.
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// A tensor on its way into a file. Whatever is a [`View`] hands itself over in one piece; what would have to be made for that,
/// such as a copy of a GPU's memory, can come in several.
pub trait TensorSource {
    /// Element type.
    fn dtype(&self) -> Dtype;

    /// Shape, outermost dimension first; empty for a scalar.
    fn shape(&self) -> &[usize];

    /// Bytes of all elements together.
    fn byte_len(&self) -> usize;

    /// Hands the elements over to `sink`, row-major and little-endian, from the first byte to the last.
    ///
    /// # Errors
    ///
    /// If `sink` fails, or the elements cannot be had.
    fn pieces(&self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>;
}

impl<V: View> TensorSource for V {
    fn dtype(&self) -> Dtype {
        View::dtype(self)
    }
    fn shape(&self) -> &[usize] {
        View::shape(self)
    }
    fn byte_len(&self) -> usize {
        View::data_len(self)
    }
    fn pieces(&self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        sink(&self.data())
    }
}

/// Writes a safetensors file, atomically and durably, with one piece of a tensor in memory at a time.
///
/// Tensors are laid out by falling alignment, then by name, as the reference implementation does; metadata is sorted. So
/// equal input gives equal bytes.
///
/// # Errors
///
/// If a name is given twice, a tensor's bytes do not fill its shape, or the disk refuses. `path` then keeps its content.
pub fn write_safetensors<T: TensorSource>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, T)>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WriteError> {
    durable::replace(&Disk::default(), path, |writer| stream(writer, tensors, metadata))
}

/// Writes header and tensors to `writer`, and drops each tensor when it is written.
pub(crate) fn stream<T: TensorSource>(
    writer: &mut impl Write,
    tensors: impl IntoIterator<Item = (String, T)>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WriteError> {
    let mut tensors: Vec<(String, T)> = tensors.into_iter().collect();
    tensors.sort_by(|(a, left), (b, right)| right.dtype().cmp(&left.dtype()).then_with(|| a.cmp(b)));
    let header = header(&tensors, metadata)?;
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(&header)?;
    for (name, tensor) in tensors {
        let mut found = 0;
        tensor.pieces(&mut |piece| {
            found += piece.len();
            writer.write_all(piece)
        })?;
        check_size(&name, found, tensor.byte_len())?;
    }
    Ok(())
}

/// The JSON header, padded with spaces so that the tensors start at a multiple of eight bytes.
fn header<T: TensorSource>(
    tensors: &[(String, T)],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, WriteError> {
    let json = |source| WriteError::Json { name: "safetensors header".to_owned(), source };
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".to_owned(), serde_json::to_value(metadata).map_err(json)?);
    }
    let mut offset = 0;
    for (name, tensor) in tensors {
        check_size(name, tensor.byte_len(), byte_count(tensor))?;
        let data_offsets = (offset, offset + tensor.byte_len());
        let info = TensorInfo { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), data_offsets };
        let twice = entries.insert(name.clone(), serde_json::to_value(info).map_err(json)?);
        if twice.is_some() {
            return Err(WriteError::TensorTwice { tensor: name.clone() });
        }
        offset = data_offsets.1;
    }
    let mut header = serde_json::to_vec(&entries).map_err(json)?;
    header.resize(header.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    Ok(header)
}

/// Bytes that the shape and dtype ask for.
fn byte_count(tensor: &impl TensorSource) -> usize {
    tensor.shape().iter().product::<usize>() * tensor.dtype().bitsize() / 8
}

fn check_size(tensor: &str, found: usize, wanted: usize) -> Result<(), WriteError> {
    if found == wanted {
        Ok(())
    } else {
        Err(WriteError::TensorSize { tensor: tensor.to_owned(), found, wanted })
    }
}

/// Opens a safetensors file: reads and validates the header, checks that the file has exactly the bytes it promises, and
/// leaves the tensors on disk until they are asked for.
///
/// Never panics and never allocates more than the header, whatever the file contains.
///
/// # Errors
///
/// If the file is missing, truncated, padded, or its header lies.
pub fn read_safetensors(path: &Path) -> Result<TensorFile, ReadError> {
    let found = file_size(&Disk::default(), path)?;
    let mut file = fs::File::open(path)?;
    let size = |wanted| ReadError::Size { path: path.to_owned(), found, wanted };
    let mut length = [0; LENGTH_BYTES as usize];
    if found < LENGTH_BYTES {
        return Err(size(LENGTH_BYTES));
    }
    file.read_exact(&mut length)?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(ReadError::HeaderTooLarge {
            path: path.to_owned(),
            found: header_bytes,
            wanted: MAX_HEADER_BYTES,
        });
    }
    let start = LENGTH_BYTES + header_bytes;
    if found < start {
        return Err(size(start));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header)?;
    let header =
        parse_header(&header).map_err(|source| ReadError::Header { path: path.to_owned(), source })?;
    match start.checked_add(header.data_len() as u64) {
        Some(wanted) if wanted == found => Ok(TensorFile { path: path.to_owned(), file, header, start }),
        wanted => Err(size(wanted.unwrap_or(u64::MAX))),
    }
}

/// Parses and validates: offsets are contiguous, and every tensor has the bytes its shape and dtype ask for.
fn parse_header(bytes: &[u8]) -> Result<Metadata, SafeTensorError> {
    let text = std::str::from_utf8(bytes).map_err(SafeTensorError::InvalidHeader)?;
    serde_json::from_str(text).map_err(SafeTensorError::InvalidHeaderDeserialization)
}

/// An open safetensors file with a valid header.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: fs::File,
    header: Metadata,
    start: u64,
}

impl TensorFile {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the tensors, in the order of their bytes: reading in this order reads the disk from front to back.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Dtype, shape and place of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.header.info(name)
    }

    /// The file's metadata, such as `format` or a step.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.header.metadata().clone().unwrap_or_default().into_iter().collect()
    }

    /// Reads one tensor.
    ///
    /// # Errors
    ///
    /// If there is no tensor `name`, or the disk refuses.
    pub fn read(&self, name: &str) -> Result<OwnedTensor, ReadError> {
        let Some(info) = self.info(name) else {
            return Err(ReadError::NoTensor { path: self.path.clone(), name: name.to_owned() });
        };
        let (begin, end) = info.data_offsets;
        let mut data = vec![0; end - begin];
        self.file.file().read_exact_at(&mut data, self.start + begin as u64)?;
        Ok(OwnedTensor { dtype: info.dtype, shape: info.shape.clone(), data })
    }
}

/// A tensor as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedTensor {
    /// Element type.
    pub dtype: Dtype,
    /// Shape, outermost dimension first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements in row-major order, little-endian.
    pub data: Vec<u8>,
}

impl View for OwnedTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.data.as_slice().into()
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}
