//! PyTorch's own collectives, safe to call: the store that processes find each other through, and groups of processes that reduce
//! and gather tensors together. `c10d.cpp` is the other half.

#![allow(unsafe_code, reason = "libtorch's collectives are C++, reached through a C interface of ours")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use tch::Tensor;
use thiserror::Error;

#[repr(C)]
struct StoreHandle(c_void);
#[repr(C)]
struct GroupHandle(c_void);
#[repr(C)]
struct WorkHandle(c_void);

/// A message that has to be freed, or null.
type Failed = *mut c_char;

unsafe extern "C" {
    fn rltrain_c10d_free(bytes: *mut c_char);
    fn rltrain_c10d_store(
        host: *const c_char,
        port: u16,
        serves: bool,
        timeout_ms: i64,
        prefix: *const c_char,
        out: *mut *mut StoreHandle,
    ) -> Failed;
    fn rltrain_c10d_store_drop(store: *mut StoreHandle);
    fn rltrain_c10d_store_set(
        store: *mut StoreHandle,
        key: *const c_char,
        bytes: *const u8,
        count: usize,
    ) -> Failed;
    fn rltrain_c10d_store_set_once(
        store: *mut StoreHandle,
        key: *const c_char,
        bytes: *const u8,
        count: usize,
        held: *mut *mut c_char,
        held_count: *mut usize,
    ) -> Failed;
    fn rltrain_c10d_store_has(store: *mut StoreHandle, key: *const c_char, out: *mut bool) -> Failed;
    fn rltrain_c10d_store_wait(store: *mut StoreHandle, key: *const c_char, timeout_ms: i64) -> Failed;
    fn rltrain_c10d_store_get(
        store: *mut StoreHandle,
        key: *const c_char,
        out: *mut *mut c_char,
        count: *mut usize,
    ) -> Failed;
    fn rltrain_c10d_group(
        store: *mut StoreHandle,
        prefix: *const c_char,
        rank: c_int,
        world: c_int,
        cuda: bool,
        timeout_ms: i64,
        out: *mut *mut GroupHandle,
    ) -> Failed;
    fn rltrain_c10d_group_drop(group: *mut GroupHandle);
    fn rltrain_c10d_all_reduce(
        group: *mut GroupHandle,
        tensor: *const c_void,
        op: c_int,
        out: *mut *mut WorkHandle,
    ) -> Failed;
    fn rltrain_c10d_reduce(
        group: *mut GroupHandle,
        tensor: *const c_void,
        root: c_int,
        out: *mut *mut WorkHandle,
    ) -> Failed;
    fn rltrain_c10d_all_gather(
        group: *mut GroupHandle,
        from: *const c_void,
        into: *const c_void,
        out: *mut *mut WorkHandle,
    ) -> Failed;
    fn rltrain_c10d_broadcast(
        group: *mut GroupHandle,
        tensor: *const c_void,
        root: c_int,
        out: *mut *mut WorkHandle,
    ) -> Failed;
    fn rltrain_c10d_wait(work: *mut WorkHandle) -> Failed;
}

/// What libtorch said when a collective or the store failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct C10dError(String);

impl C10dError {
    /// As if libtorch had said `message`.
    pub(super) fn of(message: String) -> C10dError {
        C10dError(message)
    }
}

/// A message of the other half as an error.
fn checked(failed: Failed) -> Result<(), C10dError> {
    if failed.is_null() {
        return Ok(());
    }
    // SAFETY: the other half returns null or a string that ends with a zero and is ours to free.
    let message = unsafe {
        let message = std::ffi::CStr::from_ptr(failed).to_string_lossy().into_owned();
        rltrain_c10d_free(failed);
        message
    };
    Err(C10dError(message))
}

/// Bytes of the other half as ours.
fn taken(bytes: *mut c_char, count: usize) -> Vec<u8> {
    if bytes.is_null() {
        return Vec::new();
    }
    // SAFETY: the other half returns `count` bytes that are ours to free.
    unsafe {
        let copy = std::slice::from_raw_parts(bytes.cast::<u8>(), count).to_vec();
        rltrain_c10d_free(bytes);
        copy
    }
}

fn key_of(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).expect("no zero is left in it")
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A connection to the store of the processes that train together: `TCPStore` of PyTorch, which one of them serves, or torchrun.
/// Calls on one connection wait for each other.
pub(super) struct Store(*mut StoreHandle);

// SAFETY: `TCPStore` guards a connection by a mutex of its own.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// Connects to the store at `host`:`port`, and serves it if `serves`. Keys are apart from those of other `prefix`es. A call
    /// that has to wait does so for `timeout`.
    ///
    /// # Errors
    ///
    /// If nothing answers there within `timeout`, or the port cannot be served.
    pub(super) fn connect(
        (host, port): (&str, u16),
        serves: bool,
        timeout: Duration,
        prefix: &str,
    ) -> Result<Store, C10dError> {
        let (host, prefix, mut out) = (key_of(host), key_of(prefix), ptr::null_mut());
        // SAFETY: strings end with a zero and outlive the call; `out` is written if it succeeds.
        checked(unsafe {
            rltrain_c10d_store(
                host.as_ptr(),
                port,
                serves,
                milliseconds(timeout),
                prefix.as_ptr(),
                &raw mut out,
            )
        })?;
        Ok(Store(out))
    }

    /// Sets a key.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub(super) fn set(&self, key: &str, value: &[u8]) -> Result<(), C10dError> {
        let key = key_of(key);
        // SAFETY: key and value outlive the call.
        checked(unsafe { rltrain_c10d_store_set(self.0, key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// Sets a key that has no value; returns the value that it then has, which is the first that anybody gave it.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub(super) fn set_once(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, C10dError> {
        let (key, mut held, mut count) = (key_of(key), ptr::null_mut(), 0);
        // SAFETY: key and value outlive the call; the outputs are written if it succeeds.
        checked(unsafe {
            rltrain_c10d_store_set_once(
                self.0,
                key.as_ptr(),
                value.as_ptr(),
                value.len(),
                &raw mut held,
                &raw mut count,
            )
        })?;
        Ok(taken(held, count))
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, C10dError> {
        let (key, mut has) = (key_of(key), false);
        // SAFETY: the key outlives the call; `has` is written if it succeeds.
        checked(unsafe { rltrain_c10d_store_has(self.0, key.as_ptr(), &raw mut has) })?;
        if !has {
            return Ok(None);
        }
        let (mut bytes, mut count) = (ptr::null_mut(), 0);
        // SAFETY: as above.
        checked(unsafe { rltrain_c10d_store_get(self.0, key.as_ptr(), &raw mut bytes, &raw mut count) })?;
        Ok(Some(taken(bytes, count)))
    }

    /// Waits until a key has a value.
    ///
    /// # Errors
    ///
    /// If it has none after `timeout`, or the store does not answer.
    pub(super) fn wait(&self, key: &str, timeout: Duration) -> Result<(), C10dError> {
        let key = key_of(key);
        // SAFETY: the key outlives the call.
        checked(unsafe { rltrain_c10d_store_wait(self.0, key.as_ptr(), milliseconds(timeout)) })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `rltrain_c10d_store`, dropped once.
        unsafe { rltrain_c10d_store_drop(self.0) }
    }
}

/// How tensors are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    /// Elements are added.
    Sum,
    /// The largest of each element.
    Max,
}

/// Processes that do the same collectives in the same order: Gloo on the CPU, NCCL on CUDA.
pub(super) struct Group(*mut GroupHandle);

// SAFETY: collectives are started from one thread at a time, which `Collectives` sees to; libtorch's own threads do them.
unsafe impl Send for Group {}

impl Group {
    /// Joins the group `name` of `world` processes as number `rank`. A collective fails if others do not come within `timeout`.
    ///
    /// # Errors
    ///
    /// If others do not join within `timeout`.
    pub(super) fn join(
        store: &Store,
        name: &str,
        (rank, world): (usize, usize),
        on_cuda: bool,
        timeout: Duration,
    ) -> Result<Group, C10dError> {
        let (name, mut out) = (key_of(name), ptr::null_mut());
        let number = |number: usize| c_int::try_from(number).unwrap_or(c_int::MAX);
        // SAFETY: the store is alive, and the group keeps it so; `out` is written if the call succeeds.
        checked(unsafe {
            rltrain_c10d_group(
                store.0,
                name.as_ptr(),
                number(rank),
                number(world),
                on_cuda,
                milliseconds(timeout),
                &raw mut out,
            )
        })?;
        Ok(Group(out))
    }

    /// Begins to replace `tensor`, everywhere, by the reduction of all processes' tensors: bit for bit the same everywhere.
    ///
    /// # Errors
    ///
    /// If the tensor cannot be reduced, or the group is broken.
    pub(super) fn all_reduce<'a>(&'a self, tensor: &'a Tensor, by: Reduction) -> Result<Work<'a>, C10dError> {
        let op = match by {
            Reduction::Sum => 0,
            Reduction::Max => 1,
        };
        let mut out = ptr::null_mut();
        // SAFETY: the tensor is alive, and the work keeps a reference to it.
        checked(unsafe { rltrain_c10d_all_reduce(self.0, tensor.as_ptr().cast(), op, &raw mut out) })?;
        Ok(Work::of(out))
    }

    /// Begins to add every process' `tensor` up, in that of process `root`. The others' hold nothing of use afterwards.
    ///
    /// # Errors
    ///
    /// If the tensor cannot be reduced, or the group is broken.
    pub(super) fn sum_to(&self, tensor: Tensor, root: usize) -> Result<Underway, C10dError> {
        let (mut out, root) = (ptr::null_mut(), c_int::try_from(root).unwrap_or(c_int::MAX));
        // SAFETY: as for `all_reduce`.
        checked(unsafe { rltrain_c10d_reduce(self.0, tensor.as_ptr().cast(), root, &raw mut out) })?;
        Ok(Underway { work: Work::of(out), tensor })
    }

    /// As [`Group::broadcast`], of a tensor that is given back when it is done.
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn broadcast_own(&self, tensor: Tensor, root: usize) -> Result<Underway, C10dError> {
        let (mut out, root) = (ptr::null_mut(), c_int::try_from(root).unwrap_or(c_int::MAX));
        // SAFETY: as for `all_reduce`.
        checked(unsafe { rltrain_c10d_broadcast(self.0, tensor.as_ptr().cast(), root, &raw mut out) })?;
        Ok(Underway { work: Work::of(out), tensor })
    }

    /// Begins to fill `into`, everywhere, with the `from` of every process one behind the other. All have one shape and kind.
    ///
    /// # Errors
    ///
    /// If shapes do not fit, or the group is broken.
    pub(super) fn all_gather<'a>(
        &'a self,
        from: &'a Tensor,
        into: &'a Tensor,
    ) -> Result<Work<'a>, C10dError> {
        let mut out = ptr::null_mut();
        let (from, into) = (from.as_ptr().cast(), into.as_ptr().cast());
        // SAFETY: the tensors are alive, and the work keeps references to them.
        checked(unsafe { rltrain_c10d_all_gather(self.0, from, into, &raw mut out) })?;
        Ok(Work::of(out))
    }

    /// Begins to replace every process' `tensor` by that of process `root`.
    ///
    /// # Errors
    ///
    /// If the tensor cannot be sent, or the group is broken.
    pub(super) fn broadcast<'a>(&'a self, tensor: &'a Tensor, root: usize) -> Result<Work<'a>, C10dError> {
        let (mut out, root) = (ptr::null_mut(), c_int::try_from(root).unwrap_or(c_int::MAX));
        // SAFETY: as for `all_reduce`.
        checked(unsafe { rltrain_c10d_broadcast(self.0, tensor.as_ptr().cast(), root, &raw mut out) })?;
        Ok(Work::of(out))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: made by `rltrain_c10d_group`, dropped once.
        unsafe { rltrain_c10d_group_drop(self.0) }
    }
}

/// A collective under way that has a tensor of its own, so that nobody touches it before it is done. Libtorch's work keeps what it
/// needs of its group.
pub(super) struct Underway {
    work: Work<'static>,
    tensor: Tensor,
}

impl Underway {
    /// Waits until it is done; returns the tensor.
    ///
    /// # Errors
    ///
    /// If another process has left, or does not come.
    pub(super) fn wait(self) -> Result<Tensor, C10dError> {
        self.work.wait()?;
        Ok(self.tensor)
    }
}

/// A collective under way. Whoever drops it waits for it.
#[must_use = "what it works on is not to be touched before it is done"]
pub(super) struct Work<'a> {
    handle: *mut WorkHandle,
    tensors: PhantomData<&'a Tensor>,
}

// SAFETY: libtorch's work can be waited for by any thread.
unsafe impl Send for Work<'_> {}

impl Work<'_> {
    fn of<'a>(handle: *mut WorkHandle) -> Work<'a> {
        Work { handle, tensors: PhantomData }
    }

    /// Waits until it is done.
    ///
    /// # Errors
    ///
    /// If another process has left, or does not come.
    pub(super) fn wait(mut self) -> Result<(), C10dError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), C10dError> {
        let handle = std::mem::replace(&mut self.handle, ptr::null_mut());
        if handle.is_null() {
            return Ok(());
        }
        // SAFETY: the handle is alive, and is not used again.
        checked(unsafe { rltrain_c10d_wait(handle) })
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // Whatever made its owner forget it is what is reported.
        let _ = self.finish();
    }
}
