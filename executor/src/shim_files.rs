//! Stdin and the files of a program's world: opened, read, listed, never changed.

use std::sync::Arc;

use wasmtime::{Caller, Linker};

use crate::files::{Files, Node};
use crate::sandbox::{Open, Sandbox, charge};
use crate::shim::{WASI, answer, errno, split};

/// Descriptor of the root, which is open from the start; stdin, stdout and stderr come before it, what a program opens after.
const ROOT: i32 = 3;
const FIRST_OPENED: i32 = 4;
/// Path of the root.
const ROOT_PATH: &str = "/";
/// Files and folders that a program may have open at once.
const MOST_OPEN: usize = 64;

/// Kinds of file in the interface.
const UNKNOWN: u8 = 0;
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;

/// Adds the calls that read stdin and files.
pub(crate) fn add(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    add_reading(linker)?;
    add_seeking(linker)?;
    add_opening(linker)?;
    add_attributes(linker)?;
    add_folders(linker)
}

/// What a descriptor stands for.
enum Descriptor {
    /// Stdin, stdout or stderr.
    Stream,
    /// The root.
    Root(Node),
    /// Something that the program has opened.
    Opened(Open),
}

/// Index among the program's open files.
fn slot(descriptor: i32) -> Option<usize> {
    usize::try_from(descriptor.checked_sub(FIRST_OPENED)?).ok()
}

/// `None` if the descriptor is not open.
fn look_up(sandbox: &Sandbox, descriptor: i32) -> Option<Descriptor> {
    match descriptor {
        0..=2 => Some(Descriptor::Stream),
        ROOT => Some(Descriptor::Root(Files::ROOT)),
        _ => sandbox.open.get(slot(descriptor)?)?.map(Descriptor::Opened),
    }
}

impl Descriptor {
    fn node(&self) -> Option<Node> {
        match self {
            Self::Stream => None,
            Self::Root(node) | Self::Opened(Open { node, .. }) => Some(*node),
        }
    }

    fn kind(&self, files: &Files) -> u8 {
        self.node().map_or(UNKNOWN, |node| kind(files, node))
    }
}

fn kind(files: &Files, node: Node) -> u8 {
    if files.content(node).is_some() { REGULAR } else { DIRECTORY }
}

/// The open file behind a descriptor, or the error number that says why there is none.
fn open_file(sandbox: &Sandbox, descriptor: i32) -> Result<Open, i32> {
    match look_up(sandbox, descriptor) {
        Some(Descriptor::Opened(open)) if sandbox.world.files.content(open.node).is_some() => Ok(open),
        Some(Descriptor::Opened(_) | Descriptor::Root(_)) => Err(errno::ISDIR),
        Some(Descriptor::Stream) => Err(errno::SPIPE),
        None => Err(errno::BADF),
    }
}

/// What `path`, seen from the folder behind a descriptor, stands for; or the error number that says why nothing.
fn resolve(sandbox: &Sandbox, folder: i32, path: &[u8]) -> Result<Node, i32> {
    let files = &sandbox.world.files;
    let from = look_up(sandbox, folder).and_then(|folder| folder.node()).ok_or(errno::BADF)?;
    if files.content(from).is_some() {
        return Err(errno::NOTDIR);
    }
    files.find(files.path(from), path).ok_or(errno::NOENT)
}

fn move_to(sandbox: &mut Sandbox, descriptor: i32, position: u64) {
    if let Some(slot) = slot(descriptor)
        && let Some(Some(open)) = sandbox.open.get_mut(slot)
    {
        open.position = position;
    }
}

/// Copies `rest` into a list of buffers. Returns how much fitted, or `None` if a buffer lies outside the memory.
fn scatter(
    caller: &mut Caller<'_, Sandbox>,
    mut rest: &[u8],
    list: u32,
    count: u32,
) -> wasmtime::Result<Option<u32>> {
    let mut total = 0_u32;
    for index in 0..count {
        let Some((at, size)) = split(caller)?.0.buffer(list, index) else { return Ok(None) };
        let taken = rest.len().min(size as usize);
        charge(caller, taken as u32)?;
        if split(caller)?.0.put(at, &rest[..taken]).is_none() {
            return Ok(None);
        }
        rest = &rest[taken..];
        total = total.saturating_add(taken as u32);
        if taken < size as usize {
            break;
        }
    }
    Ok(Some(total))
}

fn rest(bytes: &[u8], from: u64) -> &[u8] {
    bytes.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default()
}

/// Reads on from where the last reading of stdin ended.
fn read_stdin(caller: &mut Caller<'_, Sandbox>, list: u32, count: u32) -> wasmtime::Result<Option<u32>> {
    let stdin = Arc::clone(&caller.data().world.stdin);
    let from = caller.data().stdin_read;
    let read = scatter(caller, rest(&stdin, from as u64), list, count)?;
    caller.data_mut().stdin_read = from + read.unwrap_or(0) as usize;
    Ok(read)
}

fn read_file(
    caller: &mut Caller<'_, Sandbox>,
    open: Open,
    from: u64,
    list: u32,
    count: u32,
) -> wasmtime::Result<Option<u32>> {
    let Some(content) = caller.data().world.files.content(open.node).cloned() else { return Ok(None) };
    scatter(caller, rest(&content, from), list, count)
}

fn add_reading(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let read = |mut caller: Caller<'_, Sandbox>, descriptor: i32, list: i32, count: i32, result: i32| {
        let (list, count) = (list.cast_unsigned(), count.cast_unsigned());
        let read = if descriptor == 0 {
            read_stdin(&mut caller, list, count)?
        } else {
            let open = match open_file(caller.data(), descriptor) {
                Ok(open) => open,
                Err(errno::SPIPE) => return Ok(errno::BADF),
                Err(refusal) => return Ok(refusal),
            };
            let read = read_file(&mut caller, open, open.position, list, count)?;
            let position = open.position.saturating_add(u64::from(read.unwrap_or(0)));
            move_to(caller.data_mut(), descriptor, position);
            read
        };
        let Some(total) = read else { return Ok(errno::FAULT) };
        wasmtime::Result::Ok(answer(split(&mut caller)?.0.put(result.cast_unsigned(), &total.to_le_bytes())))
    };
    linker.func_wrap(WASI, "fd_read", read)?;
    let read_from =
        |mut caller: Caller<'_, Sandbox>, descriptor: i32, list: i32, count: i32, from: i64, result: i32| {
            let open = match open_file(caller.data(), descriptor) {
                Ok(open) => open,
                Err(refusal) => return Ok(refusal),
            };
            let (list, count) = (list.cast_unsigned(), count.cast_unsigned());
            let read = read_file(&mut caller, open, from.cast_unsigned(), list, count)?;
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
        let (mut bytes, sandbox) = split(&mut caller)?;
        let open = match open_file(sandbox, descriptor) {
            Ok(open) => open,
            Err(refusal) => return Ok(refusal),
        };
        let base = match whence {
            0 => 0,
            1 => open.position,
            2 => size(&sandbox.world.files, open.node),
            _ => return Ok(errno::INVAL),
        };
        let Some(target) = base.checked_add_signed(offset) else { return Ok(errno::INVAL) };
        move_to(sandbox, descriptor, target);
        wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &target.to_le_bytes())))
    };
    linker.func_wrap(WASI, "fd_seek", seek)?;
    let tell = |mut caller: Caller<'_, Sandbox>, descriptor: i32, result: i32| {
        let (mut bytes, sandbox) = split(&mut caller)?;
        let open = match open_file(sandbox, descriptor) {
            Ok(open) => open,
            Err(refusal) => return Ok(refusal),
        };
        wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &open.position.to_le_bytes())))
    };
    linker.func_wrap(WASI, "fd_tell", tell)?;
    Ok(())
}

/// Opens for reading. What would write is refused and, like what is not there, counted.
fn open(sandbox: &mut Sandbox, folder: i32, path: &[u8], flags: i32, rights: i64) -> Result<u32, i32> {
    const DIRECTORY_FLAG: i32 = 2;
    const WRITE_RIGHT: i64 = 1 << 6;
    let mut found = resolve(sandbox, folder, path);
    if found != Err(errno::BADF) && (flags & !DIRECTORY_FLAG != 0 || rights & WRITE_RIGHT != 0) {
        found = Err(errno::ROFS);
    }
    let node = match found {
        Ok(node) => node,
        Err(refusal) => {
            sandbox.ledger.deny("path_open");
            return Err(refusal);
        }
    };
    if flags & DIRECTORY_FLAG != 0 && sandbox.world.files.content(node).is_some() {
        return Err(errno::NOTDIR);
    }
    let free = sandbox.open.iter().position(Option::is_none).unwrap_or(sandbox.open.len());
    if free >= MOST_OPEN {
        return Err(errno::MFILE);
    }
    if free == sandbox.open.len() {
        sandbox.open.push(None);
    }
    sandbox.open[free] = Some(Open { node, position: 0 });
    Ok(FIRST_OPENED.cast_unsigned() + free as u32)
}

fn add_opening(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let open_path = |mut caller: Caller<'_, Sandbox>,
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
        let Some(path) = bytes.slice(path.cast_unsigned(), size.cast_unsigned()) else {
            return Ok(errno::FAULT);
        };
        match open(sandbox, folder, path, flags, rights) {
            Ok(descriptor) => {
                wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &descriptor.to_le_bytes())))
            }
            Err(refusal) => Ok(refusal),
        }
    };
    linker.func_wrap(WASI, "path_open", open_path)?;
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
            let Some(found) = look_up(sandbox, descriptor) else { return Ok(errno::BADF) };
            let kind = found.kind(&sandbox.world.files);
            // fd_read, fd_write and fd_filestat_get for streams; every right for files and folders: what is not supported
            // fails when it is tried.
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
            let Some(found) = look_up(sandbox, descriptor) else { return Ok(errno::BADF) };
            let attributes = attributes(&sandbox.world.files, found.node());
            wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &attributes)))
        },
    )?;
    let path_attributes =
        |mut caller: Caller<'_, Sandbox>, folder: i32, _: i32, path: i32, size: i32, result: i32| {
            let (mut bytes, sandbox) = split(&mut caller)?;
            let Some(path) = bytes.slice(path.cast_unsigned(), size.cast_unsigned()) else {
                return Ok(errno::FAULT);
            };
            match resolve(sandbox, folder, path) {
                Ok(node) => {
                    let attributes = attributes(&sandbox.world.files, Some(node));
                    wasmtime::Result::Ok(answer(bytes.put(result.cast_unsigned(), &attributes)))
                }
                Err(refusal) => Ok(refusal),
            }
        };
    linker.func_wrap(WASI, "path_filestat_get", path_attributes)?;
    Ok(())
}

/// Attributes of a file or folder, or else of a stream, in the interface's layout. All times are zero.
fn attributes(files: &Files, node: Option<Node>) -> [u8; 64] {
    let mut attributes = [0; 64];
    let number = node.map_or(0, Files::number);
    attributes[8..16].copy_from_slice(&number.to_le_bytes());
    attributes[16] = node.map_or(UNKNOWN, |node| kind(files, node));
    attributes[24] = 1;
    let size = node.map_or(0, |node| size(files, node));
    attributes[32..40].copy_from_slice(&size.to_le_bytes());
    attributes
}

fn size(files: &Files, node: Node) -> u64 {
    files.content(node).map_or(0, |content| content.len() as u64)
}

fn add_folders(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.func_wrap(
        WASI,
        "fd_prestat_get",
        |mut caller: Caller<'_, Sandbox>, descriptor: i32, result: i32| {
            if descriptor != ROOT {
                return Ok(errno::BADF);
            }
            let mut described = [0; 8];
            described[4..].copy_from_slice(&(ROOT_PATH.len() as u32).to_le_bytes());
            wasmtime::Result::Ok(answer(split(&mut caller)?.0.put(result.cast_unsigned(), &described)))
        },
    )?;
    let name = |mut caller: Caller<'_, Sandbox>, descriptor: i32, at: i32, size: i32| {
        if descriptor != ROOT {
            return Ok(errno::BADF);
        }
        let kept = ROOT_PATH.len().min(size.cast_unsigned() as usize);
        wasmtime::Result::Ok(answer(
            split(&mut caller)?.0.put(at.cast_unsigned(), &ROOT_PATH.as_bytes()[..kept]),
        ))
    };
    linker.func_wrap(WASI, "fd_prestat_dir_name", name)?;
    let list =
        |mut caller: Caller<'_, Sandbox>, descriptor: i32, at: i32, size: i32, from: i64, result: i32| {
            let files = Arc::clone(&caller.data().world.files);
            charge(&mut caller, (files.len() as u32).saturating_mul(64))?;
            let (mut bytes, sandbox) = split(&mut caller)?;
            let folder = match look_up(sandbox, descriptor).map(|found| found.node()) {
                Some(Some(node)) if files.content(node).is_none() => node,
                Some(_) => return Ok(errno::NOTDIR),
                None => return Ok(errno::BADF),
            };
            let listed = listing(&files, folder, from.cast_unsigned(), size.cast_unsigned() as usize);
            let used = (listed.len() as u32).to_le_bytes();
            let written = bytes.put(at.cast_unsigned(), &listed);
            wasmtime::Result::Ok(answer(written.and_then(|()| bytes.put(result.cast_unsigned(), &used))))
        };
    linker.func_wrap(WASI, "fd_readdir", list)?;
    Ok(())
}

/// Entries of a folder from the `from`th on, in the interface's layout, cut off after `most` bytes: a full buffer tells the
/// program that there is more.
fn listing(files: &Files, folder: Node, from: u64, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, (name, node)) in files.list(folder).enumerate() {
        if (index as u64) < from {
            continue;
        }
        if bytes.len() >= most {
            break;
        }
        bytes.extend((index as u64 + 1).to_le_bytes());
        bytes.extend(Files::number(node).to_le_bytes());
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend([kind(files, node), 0, 0, 0]);
        bytes.extend(name.as_bytes());
    }
    bytes.truncate(most);
    bytes
}
