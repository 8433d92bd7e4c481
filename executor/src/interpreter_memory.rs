//! The memory that programs run in: a copy-on-write picture of an interpreter, restored after each program.
//!
//! There are as many memories as instances can run at once. Each is a private mapping of a file, so that the kernel copies a page
//! when a program first writes to it. Afterwards the pages that were written are copied back from the file and kept: the next
//! program writes mostly to the same ones, and a page that is there already costs a tenth of one that has to be made.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use crate::embedding::PAGE_BYTES;

/// Address space of a memory: everything that a 32-bit address reaches.
pub(crate) const RESERVED_BYTES: usize = 4 << 30;

/// Address space behind it that is never accessible: compiled code relies on it.
pub(crate) const GUARD_BYTES: usize = 32 << 20;

/// Written pages that are kept for the next program. More are given back to the kernel: copying has its price too. One and a
/// half times as much made HumanEval a tenth slower.
const MOST_KEPT_BYTES: usize = 2 << 20;

/// Stretches of written pages that one look finds; as many again are looked for after them.
const MOST_STRETCHES: usize = 512;

/// A memory of the interpreter, which one instance at a time can have.
pub(crate) struct InterpreterMemory {
    area: Mapping,
    /// The picture once more, never written: what pages are restored from.
    original: Mapping,
    /// Size of the picture, which is the size that a program starts with.
    picture_bytes: usize,
    /// Size that the interpreter's module declares, by which its memory is told from others.
    declared_bytes: usize,
    /// Answers which pages were written; absent where the kernel cannot say.
    pagemap: Option<File>,
    is_free: AtomicBool,
}

/// Gives [`InterpreterMemory`] to wasmtime: to each instance the first that is free.
#[derive(Clone)]
pub(crate) struct Creator(Arc<[Arc<InterpreterMemory>]>);

impl Creator {
    /// Lends these memories.
    pub(crate) fn new(memories: Vec<InterpreterMemory>) -> Self {
        Self(memories.into_iter().map(Arc::new).collect())
    }
}

impl InterpreterMemory {
    /// A memory that starts with the first `picture_bytes` of `file`, for a module that declares `declared_bytes`.
    pub(crate) fn new(file: &File, picture_bytes: usize, declared_bytes: usize) -> io::Result<Self> {
        if !picture_bytes.is_multiple_of(PAGE_BYTES) || picture_bytes < declared_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a picture of {picture_bytes} bytes, wanted whole pages and at least {declared_bytes}"
                ),
            ));
        }
        let area = Mapping::reserve(RESERVED_BYTES + GUARD_BYTES)?;
        area.show_file(file, picture_bytes, libc::PROT_READ | libc::PROT_WRITE)?;
        let original = Mapping::reserve(picture_bytes)?;
        original.show_file(file, picture_bytes, libc::PROT_READ)?;
        let pagemap = File::open("/proc/self/pagemap").ok();
        let is_free = AtomicBool::new(true);
        Ok(Self { area, original, picture_bytes, declared_bytes, pagemap, is_free })
    }

    /// Makes the memory what it was before a program had its first `accessible` bytes.
    fn restore(&self, accessible: usize) -> io::Result<()> {
        if accessible > self.picture_bytes {
            let grown = accessible - self.picture_bytes;
            self.area.forget(self.picture_bytes, grown)?;
            self.area.protect(self.picture_bytes, grown, libc::PROT_NONE)?;
        }
        match self.written() {
            Some(stretches) => {
                for Stretch { start, end, .. } in stretches {
                    self.copy_back(start as usize - self.area.address(), (end - start) as usize)?;
                }
                Ok(())
            }
            None => self.area.forget(0, self.picture_bytes),
        }
    }

    /// The stretches of the picture that differ from the file; `None` if they are many or the kernel does not say.
    fn written(&self) -> Option<Vec<Stretch>> {
        let pagemap = self.pagemap.as_ref()?;
        let mut stretches = Vec::with_capacity(MOST_STRETCHES);
        let (mut from, end) = (self.area.address(), self.area.address() + self.picture_bytes);
        let mut kept = 0;
        while from < end {
            let begun = stretches.len();
            from = scan(pagemap, from, end, &mut stretches)?;
            kept += stretches[begun..].iter().map(|found| (found.end - found.start) as usize).sum::<usize>();
            if kept > MOST_KEPT_BYTES {
                return None;
            }
        }
        Some(stretches)
    }

    #[expect(unsafe_code, reason = "wasmtime hands memory out by address")]
    fn copy_back(&self, at: usize, size: usize) -> io::Result<()> {
        if at.checked_add(size).is_none_or(|end| end > self.picture_bytes) {
            return Err(io::Error::other(format!("{at} and {size} more of {}", self.picture_bytes)));
        }
        // SAFETY: both mappings have `picture_bytes` accessible bytes and do not overlap; `restore`, which alone calls this, runs
        // while no instance has the memory.
        unsafe {
            let source = self.original.start.as_ptr().add(at);
            std::ptr::copy_nonoverlapping(source, self.area.start.as_ptr().add(at), size);
        }
        Ok(())
    }
}

/// Stretch of pages, as `struct page_region` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stretch {
    start: u64,
    end: u64,
    categories: u64,
}

/// Adds the stretches of private pages from `from` to `end`, and returns up to where it has looked. `None` if the kernel does
/// not say.
#[expect(unsafe_code, reason = "the standard library has no ioctl")]
fn scan(pagemap: &File, from: usize, end: usize, stretches: &mut Vec<Stretch>) -> Option<usize> {
    /// `struct pm_scan_arg` of the kernel.
    #[repr(C)]
    struct Arguments {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }
    const FILE: u64 = 1 << 2;
    const PRESENT: u64 = 1 << 3;
    const SWAPPED: u64 = 1 << 4;
    stretches.reserve(MOST_STRETCHES);
    let room = stretches.spare_capacity_mut();
    let mut arguments = Arguments {
        size: size_of::<Arguments>() as u64,
        flags: 0,
        start: from as u64,
        end: end as u64,
        walk_end: 0,
        vec: room.as_mut_ptr().expose_provenance() as u64,
        vec_len: room.len() as u64,
        max_pages: 0,
        // A page of a private mapping is the file's until it is written; then it is in memory or swapped out.
        category_inverted: FILE,
        category_mask: FILE,
        category_anyof_mask: PRESENT | SWAPPED,
        return_mask: 0,
    };
    // SAFETY: `arguments` is valid for reads and writes during the call, and `vec` for writes of `vec_len` stretches.
    let found =
        unsafe { libc::ioctl(pagemap.as_raw_fd(), crate::lockdown::PAGEMAP_SCAN, &raw mut arguments) };
    let found = usize::try_from(found).ok()?;
    let looked_to = usize::try_from(arguments.walk_end).ok().filter(|looked_to| *looked_to > from)?;
    // SAFETY: the kernel has written `found` stretches, at most `vec_len` of them, behind the old length.
    unsafe { stretches.set_len(stretches.len() + found) };
    Some(looked_to)
}

#[expect(unsafe_code, reason = "this is how wasmtime takes a memory of ours")]
// SAFETY: the memories are reserved with the size and guard that are asked for or refused; the interpreter's memory goes to
// one instance at a time.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        kind: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if reserved.is_some_and(|reserved| reserved > RESERVED_BYTES) || guard > GUARD_BYTES || kind.is_64() {
            return Err(format!(
                "a memory with {reserved:?} reserved and a guard of {guard} bytes is asked for"
            ));
        }
        if self.0.iter().all(|memory| minimum != memory.declared_bytes) {
            let area = Mapping::reserve(RESERVED_BYTES + GUARD_BYTES).map_err(|error| error.to_string())?;
            let mut memory = Empty { area, accessible: 0 };
            memory.grow_to(minimum).map_err(|error| error.to_string())?;
            return Ok(Box::new(memory));
        }
        match self.0.iter().find(|memory| memory.is_free.swap(false, Ordering::Acquire)) {
            Some(memory) => {
                Ok(Box::new(Lent { accessible: memory.picture_bytes, memory: Arc::clone(memory) }))
            }
            None => Err("every memory of the interpreter is in use".to_owned()),
        }
    }
}

/// The interpreter's memory while an instance has it.
struct Lent {
    memory: Arc<InterpreterMemory>,
    accessible: usize,
}

#[expect(unsafe_code, reason = "this is how wasmtime takes a memory of ours")]
// SAFETY: the mapping lives as long as `memory`, never moves, and is accessible in its first `accessible` bytes and no others.
unsafe impl LinearMemory for Lent {
    fn byte_size(&self) -> usize {
        self.accessible
    }

    fn byte_capacity(&self) -> usize {
        RESERVED_BYTES
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        Ok(self.memory.area.grow(&mut self.accessible, size)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.memory.area.start.as_ptr()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A worker whose memory cannot be restored must not run another program. Its parent sees it end, and tries the job again
        // on a fresh one.
        if self.memory.restore(self.accessible).is_err() {
            std::process::abort();
        }
        self.memory.is_free.store(true, Ordering::Release);
    }
}

/// A memory that starts empty: the heap of WebAssembly's exceptions.
struct Empty {
    area: Mapping,
    accessible: usize,
}

#[expect(unsafe_code, reason = "this is how wasmtime takes a memory of ours")]
// SAFETY: the mapping never moves, and is accessible in its first `accessible` bytes and no others.
unsafe impl LinearMemory for Empty {
    fn byte_size(&self) -> usize {
        self.accessible
    }

    fn byte_capacity(&self) -> usize {
        RESERVED_BYTES
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        Ok(self.area.grow(&mut self.accessible, size)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.area.start.as_ptr()
    }
}

/// A stretch of address space, given back when dropped.
struct Mapping {
    start: NonNull<u8>,
    size: usize,
}

#[expect(unsafe_code, reason = "an address is neither `Send` nor `Sync` by itself")]
// SAFETY: a mapping belongs to the process, not to a thread; who may write to it is decided by who holds the memory.
unsafe impl Send for Mapping {}
#[expect(unsafe_code, reason = "an address is neither `Send` nor `Sync` by itself")]
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Address space that nothing can be read from yet.
    #[expect(unsafe_code, reason = "the standard library has no mmap")]
    fn reserve(size: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the kernel picks an address that is not in use.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        match NonNull::new(start.cast::<u8>()) {
            Some(address) if start != libc::MAP_FAILED => Ok(Self { start: address, size }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn address(&self) -> usize {
        self.start.as_ptr().addr()
    }

    /// Checks that a stretch is within, and returns where it starts.
    fn stretch(&self, at: usize, size: usize) -> io::Result<*mut libc::c_void> {
        if at.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(io::Error::other(format!("{at} and {size} more of {}", self.size)));
        }
        Ok(self.start.as_ptr().wrapping_add(at).cast())
    }

    /// Puts a private copy of the start of `file` at the start.
    #[expect(unsafe_code, reason = "the standard library has no mmap")]
    fn show_file(&self, file: &File, size: usize, protection: i32) -> io::Result<()> {
        let (start, flags) = (self.stretch(0, size)?, libc::MAP_PRIVATE | libc::MAP_FIXED);
        // SAFETY: this replaces a part of our own reservation that nobody holds a reference into.
        let shown = unsafe { libc::mmap(start, size, protection, flags, file.as_raw_fd(), 0) };
        if shown == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Makes the memory accessible up to `size`, from `accessible` on.
    fn grow(&self, accessible: &mut usize, size: usize) -> io::Result<()> {
        if size > RESERVED_BYTES {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let more = size.saturating_sub(*accessible);
        if more > 0 {
            self.protect(*accessible, more, libc::PROT_READ | libc::PROT_WRITE)?;
            *accessible = size;
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "the standard library has no mprotect")]
    fn protect(&self, at: usize, size: usize, protection: i32) -> io::Result<()> {
        let start = self.stretch(at, size)?;
        // SAFETY: the stretch is our own, and wasmtime alone reads and writes it, within what it was told is accessible.
        check(unsafe { libc::mprotect(start, size, protection) })
    }

    /// Gives written pages back to the kernel: they become what they were before.
    #[expect(unsafe_code, reason = "the standard library has no madvise")]
    fn forget(&self, at: usize, size: usize) -> io::Result<()> {
        let start = self.stretch(at, size)?;
        // SAFETY: the stretch is our own, and nobody holds a reference into it.
        check(unsafe { libc::madvise(start, size, libc::MADV_DONTNEED) })
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "the standard library has no munmap")]
    fn drop(&mut self) {
        // SAFETY: the mapping is our own, and nobody holds a reference into it. It cannot fail for a whole mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PICTURE_BYTES: usize = 160 * PAGE_BYTES;
    const HOST_PAGE: usize = 4096;

    fn picture() -> Vec<u8> {
        (0..PICTURE_BYTES / 8)
            .flat_map(|word| (word as u64).wrapping_mul(0x9E37_79B9).to_le_bytes())
            .collect()
    }

    fn creator() -> Creator {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&picture()).unwrap();
        let memory = || InterpreterMemory::new(&file, PICTURE_BYTES, PAGE_BYTES).unwrap();
        Creator::new(vec![memory(), memory()])
    }

    fn lend(creator: &Creator, declared: usize) -> Result<Box<dyn LinearMemory>, String> {
        let kind = MemoryType::new(1, None);
        creator.new_memory(kind, declared, None, Some(RESERVED_BYTES), GUARD_BYTES)
    }

    #[expect(unsafe_code, reason = "a memory is an address")]
    fn bytes(memory: &mut dyn LinearMemory) -> &mut [u8] {
        // SAFETY: that many bytes are accessible, and the mutable borrow keeps others away.
        unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) }
    }

    #[test]
    fn whatever_was_written_the_next_program_finds_the_picture() {
        let (creator, picture) = (creator(), picture());
        let pages = PICTURE_BYTES / HOST_PAGE;
        let step = |step: usize| (0..pages).step_by(step).collect::<Vec<_>>();
        // A few pages; more stretches than one look finds; more pages than are kept; all of them; a few again.
        for written in [vec![0, 7, pages - 1], step(4), step(2), step(1), vec![3]] {
            let mut memory = lend(&creator, PAGE_BYTES).unwrap();
            assert!(bytes(&mut *memory) == picture, "before {} pages are written", written.len());
            for page in written {
                bytes(&mut *memory)[page * HOST_PAGE + page % HOST_PAGE] ^= 0xff;
            }
            memory.grow_to(PICTURE_BYTES + 3 * PAGE_BYTES).unwrap();
            let grown = &mut bytes(&mut *memory)[PICTURE_BYTES..];
            assert!(grown.iter().all(|byte| *byte == 0));
            grown.fill(0xff);
        }
        assert!(step(2).len() > MOST_STRETCHES && step(2).len() * HOST_PAGE > MOST_KEPT_BYTES);
    }

    #[test]
    fn a_memory_goes_to_one_instance_at_a_time_and_other_memories_start_empty() {
        let creator = creator();
        let first = lend(&creator, PAGE_BYTES).unwrap();
        let second = lend(&creator, PAGE_BYTES).unwrap();
        assert_ne!(first.as_ptr(), second.as_ptr());
        assert_eq!(lend(&creator, PAGE_BYTES).err().unwrap(), "every memory of the interpreter is in use");
        let mut heap = lend(&creator, 2 * PAGE_BYTES).unwrap();
        assert!(bytes(&mut *heap).iter().all(|byte| *byte == 0));
        assert!(heap.grow_to(RESERVED_BYTES + 1).is_err());
        drop(first);
        assert_eq!(lend(&creator, PAGE_BYTES).unwrap().byte_size(), PICTURE_BYTES);
    }

    #[test]
    fn a_picture_that_is_smaller_than_its_module_wants_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(InterpreterMemory::new(&file, PAGE_BYTES, 2 * PAGE_BYTES).is_err());
        assert!(InterpreterMemory::new(&file, PAGE_BYTES + 1, PAGE_BYTES).is_err());
    }
}
