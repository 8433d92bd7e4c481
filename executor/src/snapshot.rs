//! Pictures of the memory of a prepared interpreter.
//!
//! A picture is a file: all of the memory, then a trailer in JSON that says where in it the host's objects are, then the size
//! of the trailer. The memory comes first, so that a worker can map it as it is.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::{HOST_STACK_BYTES, engine, load};
use crate::files::Content;
use crate::guest::preparation::PreparedMemory;
use crate::guest::{Broken, Guest, Objects};
use crate::interpreter_memory::InterpreterMemory;
use crate::world::World;
use crate::{InfraError, shim};

/// Changes when the format does: part of the key under which pictures are kept.
pub(crate) const REVISION: u32 = 1;

/// Bytes of the size at the end.
const SIZE_BYTES: usize = 4;

/// What follows the memory.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Trailer {
    /// Size of the memory.
    picture_bytes: usize,
    /// Size of the memory that the interpreter's module declares.
    declared_bytes: usize,
    objects: Objects,
}

/// Instances that can run at once: the program's, and one for what the task brings along.
const INSTANCES: usize = 2;

/// A picture that programs can start from.
pub(crate) struct Snapshot {
    /// Memories that start as the picture shows it.
    pub(crate) memories: Vec<InterpreterMemory>,
    /// Where the objects are in it.
    pub(crate) objects: Objects,
}

impl Snapshot {
    /// Opens a picture. Its hash is the caller's to check.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let Trailer { picture_bytes, declared_bytes, objects } = Trailer::read(&file)?;
        let memory = |_| InterpreterMemory::new(&file, picture_bytes, declared_bytes);
        Ok(Self { memories: (0..INSTANCES).map(memory).collect::<io::Result<_>>()?, objects })
    }
}

impl Trailer {
    fn read(file: &File) -> io::Result<Self> {
        let mut size = [0; SIZE_BYTES];
        let end =
            file.metadata()?.len().checked_sub(SIZE_BYTES as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        file.read_exact_at(&mut size, end)?;
        let size = u32::from_le_bytes(size);
        let start = end.checked_sub(size.into()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut text = vec![0; size as usize];
        file.read_exact_at(&mut text, start)?;
        let trailer: Self = serde_json::from_slice(&text)?;
        if trailer.picture_bytes as u64 == start {
            Ok(trailer)
        } else {
            let message = format!("a picture of {start} bytes, wanted {}", trailer.picture_bytes);
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
    }

    fn append_to(&self, picture: &mut Vec<u8>) -> io::Result<()> {
        let start = picture.len();
        serde_json::to_writer(&mut *picture, self)?;
        let size = (picture.len() - start) as u32;
        picture.extend(size.to_le_bytes());
        Ok(())
    }
}

/// Prepares the interpreter whose code is at `module` and whose memory is `memory` before it runs. Returns the picture.
pub(crate) fn take(
    module: &Path,
    memory: &[u8],
    starters: &[&str],
    stdlib: Vec<u8>,
) -> Result<Vec<u8>, InfraError> {
    let prepared = std::thread::scope(|scope| {
        let prepare = || prepare(module, memory, starters, stdlib);
        let builder = std::thread::Builder::new().name("preparation".to_owned()).stack_size(HOST_STACK_BYTES);
        let thread = builder.spawn_scoped(scope, prepare).map_err(failed)?;
        thread.join().map_err(|_| failed("the thread that prepares it panicked"))?
    })?;
    let PreparedMemory { mut picture, objects } = prepared;
    let trailer = Trailer { picture_bytes: picture.len(), declared_bytes: memory.len(), objects };
    trailer.append_to(&mut picture).map_err(failed)?;
    Ok(picture)
}

fn prepare(
    module: &Path,
    memory: &[u8],
    starters: &[&str],
    stdlib: Vec<u8>,
) -> Result<PreparedMemory, InfraError> {
    let mut file = tempfile::tempfile().map_err(failed)?;
    file.write_all(memory).map_err(failed)?;
    let memory = InterpreterMemory::new(&file, memory.len(), memory.len()).map_err(failed)?;
    let engine = engine(vec![memory])?;
    let module = load(&engine, module).map_err(failed)?;
    let world = World::of_python(&Content::from(stdlib), [], []).map_err(failed)?;
    let linker = shim::linker(&engine, &module).map_err(failed)?;
    let instances = linker.instantiate_pre(&module).map_err(failed)?;
    match Guest::prepare(&instances, world, starters) {
        Ok(prepared) => Ok(prepared),
        Err(Broken::Infra(error)) => Err(error),
        Err(Broken::Program(outcome)) => Err(failed(format!("it ended with {outcome:?}"))),
    }
}

fn failed(cause: impl std::fmt::Display) -> InfraError {
    InfraError::Engine(format!("a picture of the prepared interpreter cannot be taken: {cause:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_trailer_is_read_back_and_one_of_another_picture_is_refused() {
        let trailer = Trailer { picture_bytes: 8, declared_bytes: 4, objects: Objects::default() };
        let mut picture = b"a memory".to_vec();
        trailer.append_to(&mut picture).unwrap();
        assert_eq!(Trailer::read(&file(&picture)).unwrap(), trailer);
        for broken in [&picture[1..], &picture[..picture.len() - 1], &picture[..3], b""] {
            assert!(Trailer::read(&file(broken)).is_err());
        }
    }
}
