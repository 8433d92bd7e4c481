//! The only file of a program's world: the standard library archive, read-only.

use std::sync::Arc;

use wasmtime::{Caller, Linker};

use crate::sandbox::{Sandbox, charge};
use crate::shim::{Bytes, WASI, answer, errno, split};

/// The folder that exists.
const FOLDER: &str = "/usr/local/lib";
/// The file in it, which is [`Sandbox::stdlib`].
const ARCHIVE: &[u8] = b"python315.zip";

/// Descriptor of the folder; stdin, stdout and stderr come before it, open files after.
const FOLDER_DESCRIPTOR: i32 = 3;
const FIRST_FILE: i32 = 4;
/// Files that a program may have open at once.
const MOST_OPEN: usize = 64;

/// Kinds of file in the interface.
const UNKNOWN: u8 = 0;
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;

/// Adds the calls that read the archive.
pub(crate) fn add(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    add_reading(linker)?;
    add_seeking(linker)?;
    add_opening(linker)?;
    add_attributes(linker)?;
    Ok(())
}

/// What kind of file a descriptor stands for; `None` if it is not open.
fn kind(sandbox: &Sandbox, descriptor: i32) -> Option<u8> {
    match descriptor {
        0..=2 => Some(UNKNOWN),
        FOLDER_DESCRIPTOR => Some(DIRECTORY),
        _ => position(sandbox, descriptor).map(|_| REGULAR),
    }
}

fn slot(descriptor: i32) -> Option<usize> {
    usize::try_from(descriptor.checked_sub(FIRST_FILE)?).ok()
}

fn position(sandbox: &Sandbox, descriptor: i32) -> Option<u64> {
    *sandbox.open.get(slot(descriptor)?)?
}

fn move_to(sandbox: &mut Sandbox, descriptor: i32, position: u64) {
    if let Some(open) = slot(descriptor).and_then(|slot| sandbox.open.get_mut(slot)) {
        *open = Some(position);
    }
}

/// Copies from the archive into a list of buffers. Returns how much, or `None` if a buffer lies outside the memory.
fn read_at(
    caller: &mut Caller<'_, Sandbox>,
    from: u64,
    list: u32,
    count: u32,
) -> wasmtime::Result<Option<u32>> {
    let archive = Arc::clone(&caller.data().stdlib);
    let mut rest = archive.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    let mut total = 0;
    for index in 0..count {
        let Some((at, size)) = split(caller)?.0.buffer(list, index) else { return Ok(None) };
        let taken = rest.len().min(size as usize);
        charge(caller, taken as u32)?;
        if split(caller)?.0.put(at, &rest[..taken]).is_none() {
            return Ok(None);
        }
        rest = &rest[taken..];
        total += taken as u32;
        if taken < size as usize {
            break;
        }
    }
    Ok(Some(total))
}

fn add_reading(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let read = |mut caller: Caller<'_, Sandbox>, descriptor: i32, list: i32, count: i32, result: i32| {
        let (list, count, result) = (list.cast_unsigned(), count.cast_unsigned(), result.cast_unsigned());
        if descriptor == 0 {
            // stdin is empty.
            return Ok(answer(split(&mut caller)?.0.put(result, &[0; 4])));
        }
        let Some(from) = position(caller.data(), descriptor) else { return Ok(errno::BADF) };
        let Some(total) = read_at(&mut caller, from, list, count)? else { return Ok(errno::FAULT) };
        move_to(caller.data_mut(), descriptor, from.saturating_add(u64::from(total)));
        wasmtime::Result::Ok(answer(split(&mut caller)?.0.put(result, &total.to_le_bytes())))
    };
    linker.func_wrap(WASI, "fd_read", read)?;
    let read_from =
        |mut caller: Caller<'_, Sandbox>, descriptor: i32, list: i32, count: i32, from: i64, result: i32| {
            if position(caller.data(), descriptor).is_none() {
                return Ok(errno::BADF);
            }
            let read =
                read_at(&mut caller, from.cast_unsigned(), list.cast_unsigned(), count.cast_unsigned())?;
            let Some(total) = read else { return Ok(errno::FAULT) };
            wasmtime::Result::Ok(answer(
                split(&mut caller)?.0.put(result.cast_unsigned(), &total.to_le_bytes()),
            ))
        };
    linker.func_wrap(WASI, "fd_pread", read_from)?;
    Ok(())
}

fn add_seeking(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let seek = |mut caller: Caller<'_, Sandbox>, descriptor: i32, offset: i64, whence: i32, result: i32| {
        if (0..=2).contains(&descriptor) {
            return Ok(errno::SPIPE);
        }
        let (mut bytes, sandbox) = split(&mut caller)?;
        let Some(position) = position(sandbox, descriptor) else { return Ok(errno::BADF) };
        let base = match whence {
            0 => 0,
            1 => position,
            2 => sandbox.stdlib.len() as u64,
            _ => return Ok(errno::INVAL),
        };
        let Some(target) = base.checked_add_signed(offset) else { return Ok(errno::INVAL) };
        move_to(sandbox, descriptor, target);
        wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &target.to_le_bytes())))
    };
    linker.func_wrap(WASI, "fd_seek", seek)?;
    let tell = |mut caller: Caller<'_, Sandbox>, descriptor: i32, result: i32| {
        let (mut bytes, sandbox) = split(&mut caller)?;
        let Some(position) = position(sandbox, descriptor) else { return Ok(errno::BADF) };
        wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &position.to_le_bytes())))
    };
    linker.func_wrap(WASI, "fd_tell", tell)?;
    Ok(())
}

fn add_opening(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    const DIRECTORY_FLAG: i32 = 2;
    const WRITE_RIGHT: i64 = 1 << 6;
    let open = |mut caller: Caller<'_, Sandbox>,
                folder: i32,
                _: i32,
                path: i32,
                size: i32,
                flags: i32,
                rights: i64,
                _: i64,
                _: i32,
                result: i32| {
        let (mut bytes, sandbox) = split(&mut caller)?;
        let name = match bytes.slice(path.cast_unsigned(), size.cast_unsigned()) {
            Some(name) => name.to_vec(),
            None => return Ok(errno::FAULT),
        };
        let refusal = if folder != FOLDER_DESCRIPTOR {
            errno::BADF
        } else if flags & !DIRECTORY_FLAG != 0 || rights & WRITE_RIGHT != 0 {
            errno::ROFS
        } else if name != ARCHIVE {
            errno::NOENT
        } else {
            errno::SUCCESS
        };
        if refusal != errno::SUCCESS {
            sandbox.ledger.deny("path_open");
            return Ok(refusal);
        }
        let free = sandbox.open.iter().position(Option::is_none).unwrap_or(sandbox.open.len());
        if free >= MOST_OPEN {
            return Ok(errno::MFILE);
        }
        if free == sandbox.open.len() {
            sandbox.open.push(None);
        }
        sandbox.open[free] = Some(0);
        let descriptor = FIRST_FILE.cast_unsigned() + free as u32;
        wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &descriptor.to_le_bytes())))
    };
    linker.func_wrap(WASI, "path_open", open)?;
    linker.func_wrap(WASI, "fd_close", |mut caller: Caller<'_, Sandbox>, descriptor: i32| {
        let sandbox = caller.data_mut();
        match slot(descriptor).and_then(|slot| sandbox.open.get_mut(slot)) {
            Some(open) if open.is_some() => {
                *open = None;
                errno::SUCCESS
            }
            _ if (0..=2).contains(&descriptor) => errno::SUCCESS,
            _ => errno::BADF,
        }
    })?;
    Ok(())
}

fn add_attributes(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.func_wrap(
        WASI,
        "fd_fdstat_get",
        |mut caller: Caller<'_, Sandbox>, descriptor: i32, result: i32| {
            let (mut bytes, sandbox) = split(&mut caller)?;
            let Some(kind) = kind(sandbox, descriptor) else { return Ok(errno::BADF) };
            // fd_read, fd_write and fd_filestat_get for streams; every right for the folder and the archive: what is not
            // supported fails when it is tried.
            let stream: u64 = (1 << 1) | (1 << 6) | (1 << 21);
            let rights = if kind == UNKNOWN { stream } else { u64::MAX >> 34 };
            let mut attributes = [0; 24];
            attributes[0] = kind;
            attributes[8..16].copy_from_slice(&rights.to_le_bytes());
            attributes[16..24].copy_from_slice(&if kind == UNKNOWN { 0 } else { rights }.to_le_bytes());
            wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &attributes)))
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_filestat_get",
        |mut caller: Caller<'_, Sandbox>, descriptor: i32, result: i32| {
            let (mut bytes, sandbox) = split(&mut caller)?;
            let Some(kind) = kind(sandbox, descriptor) else { return Ok(errno::BADF) };
            wasmtime::Result::Ok(put_attributes(&mut bytes, result, kind, sandbox.stdlib.len()))
        },
    )?;
    let path_attributes =
        |mut caller: Caller<'_, Sandbox>, folder: i32, _: i32, path: i32, size: i32, result: i32| {
            if folder != FOLDER_DESCRIPTOR {
                return Ok(errno::BADF);
            }
            let (mut bytes, sandbox) = split(&mut caller)?;
            let kind = match bytes.slice(path.cast_unsigned(), size.cast_unsigned()).as_deref() {
                None => return Ok(errno::FAULT),
                Some(b"." | b"") => DIRECTORY,
                Some(name) if name == ARCHIVE => REGULAR,
                Some(_) => return Ok(errno::NOENT),
            };
            wasmtime::Result::Ok(put_attributes(&mut bytes, result, kind, sandbox.stdlib.len()))
        };
    linker.func_wrap(WASI, "path_filestat_get", path_attributes)?;
    add_folder(linker)
}

fn add_folder(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.func_wrap(
        WASI,
        "fd_prestat_get",
        |mut caller: Caller<'_, Sandbox>, descriptor: i32, result: i32| {
            if descriptor != FOLDER_DESCRIPTOR {
                return Ok(errno::BADF);
            }
            let mut described = [0; 8];
            described[4..].copy_from_slice(&(FOLDER.len() as u32).to_le_bytes());
            wasmtime::Result::Ok(answer(split(&mut caller)?.0.put(result.cast_unsigned(), &described)))
        },
    )?;
    let name = |mut caller: Caller<'_, Sandbox>, descriptor: i32, at: i32, size: i32| {
        if descriptor != FOLDER_DESCRIPTOR {
            return Ok(errno::BADF);
        }
        let kept = FOLDER.len().min(size.cast_unsigned() as usize);
        wasmtime::Result::Ok(answer(
            split(&mut caller)?.0.put(at.cast_unsigned(), &FOLDER.as_bytes()[..kept]),
        ))
    };
    linker.func_wrap(WASI, "fd_prestat_dir_name", name)?;
    Ok(())
}

fn put_attributes(bytes: &mut Bytes<'_>, result: i32, kind: u8, archive: usize) -> i32 {
    let mut attributes = [0; 64];
    attributes[8] = kind;
    attributes[16] = kind;
    attributes[24] = 1;
    let size = if kind == REGULAR { archive as u64 } else { 0 };
    attributes[32..40].copy_from_slice(&size.to_le_bytes());
    answer(bytes.put(result.cast_unsigned(), &attributes))
}
