//! Work on libtorch's own threads.
//!
//! A pool of ours would fight with libtorch's for the processor: its threads wait by spinning for the next product. GNU's OpenMP,
//! whose threads they are, is entered by a function that compilers call, with a fixed interface.

use std::any::Any;
use std::ffi::{c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// `GOMP_parallel`: runs a function on so many threads, this one included, and waits for all of them.
type Parallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// Calls `work` once with every number below `count`, on as many threads as libtorch uses; on this one alone where its threads
/// are not GNU OpenMP's. No call may wait for another one. A panic in one of them goes on from here; numbers that nobody had begun
/// with by then are left out.
pub(in crate::policy) fn for_each(count: usize, work: &(dyn Fn(usize) + Sync)) {
    let shared = Shared { next: AtomicUsize::new(0), count, work, panic: Mutex::new(None) };
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).min(count);
    match parallel() {
        Some(parallel) if threads > 1 => {
            let data = (&raw const shared).cast_mut().cast();
            // SAFETY: `run` gets `data`, which points to `shared` and is only read; it is over when this call returns.
            #[expect(unsafe_code, reason = "a C function takes a function and its data")]
            unsafe {
                parallel(run, data, threads as c_uint, 0);
            }
            if let Some(panic) = shared.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
                resume_unwind(panic);
            }
        }
        _ => shared.run(),
    }
}

struct Shared<'a> {
    next: AtomicUsize,
    count: usize,
    work: &'a (dyn Fn(usize) + Sync),
    /// What the first thread that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Shared<'_> {
    fn run(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            (self.work)(index);
        }
    }
}

/// A panic that left it would end the process: it is kept for [`for_each`].
extern "C" fn run(data: *mut c_void) {
    // SAFETY: `for_each` alone hands this function out, with a pointer to what it keeps until all threads are done.
    #[expect(unsafe_code, reason = "a C function hands data over by address")]
    let shared = unsafe { &*data.cast::<Shared<'_>>() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| shared.run())) {
        shared.next.store(shared.count, Ordering::Relaxed);
        shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
    }
}

fn parallel() -> Option<Parallel> {
    static FOUND: OnceLock<Option<Parallel>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: the name ends with a zero. Where there is a function of this name among the libraries that are loaded, it is
        // GNU OpenMP's, or LLVM's, which has the same interface.
        #[expect(unsafe_code, reason = "the library is there only if libtorch has brought it along")]
        unsafe {
            let address = libc::dlsym(libc::RTLD_DEFAULT, c"GOMP_parallel".as_ptr());
            (!address.is_null()).then(|| std::mem::transmute::<*mut c_void, Parallel>(address))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_worked_on_once() {
        let done: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        for_each(done.len(), &|index| _ = done[index].fetch_add(1, Ordering::Relaxed));
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        for_each(0, &|_| unreachable!("there is nothing to do"));
    }

    #[test]
    fn a_panic_of_any_thread_reaches_the_caller() {
        for index in 0..4 {
            let fail = |at| {
                if at == index {
                    resume_unwind(Box::new(at))
                }
            };
            let panic = catch_unwind(|| for_each(100, &fail)).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&index));
        }
        for_each(3, &|_| {});
    }
}
