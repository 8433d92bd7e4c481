//! A tensor of the run on its way into a file, while the run goes on.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rltrain_checkpoints::{Dtype, TensorSource};
use tch::{Device, Kind, Tensor};

/// Elements that are handed over together: 1 MiB, which stays in a processor's cache until it is hashed, written and compared.
const PIECE: i64 = 1 << 18;

/// Elements that are handed over together where their dtype changes: few enough for libtorch not to wake other threads for it.
const CONVERTED_PIECE: i64 = 1 << 14;

/// A tensor as the safetensors writer wants it: copied to the host and converted piece by piece, as it is written.
pub struct HostView {
    held: Arc<Held>,
    shape: Vec<usize>,
    kind: Kind,
}

impl HostView {
    /// A view of an f32 tensor on any device.
    pub fn new(tensor: &Tensor) -> HostView {
        HostView::in_kind(tensor, Kind::Float)
    }

    /// An f32 tensor on any device, written in `kind`: f32, f16 or bf16.
    pub fn in_kind(tensor: &Tensor, kind: Kind) -> HostView {
        assert_eq!(tensor.kind(), Kind::Float, "only f32 tensors are written");
        let shape = tensor.size().iter().map(|n| *n as usize).collect();
        HostView { held: Arc::new(Held::new(tensor)), shape, kind }
    }

    /// The tensor behind it.
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// The same view of a tensor that another view has as well.
    pub(crate) fn sharing(self, held: Arc<Held>) -> HostView {
        HostView { held, ..self }
    }

    /// All bytes together.
    ///
    /// # Errors
    ///
    /// As [`TensorSource::pieces`].
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.byte_len());
        self.pieces(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }
}

impl TensorSource for HostView {
    fn dtype(&self) -> Dtype {
        match self.kind {
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype().bitsize() / 8
    }

    fn pieces(&self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let elements: usize = self.shape.iter().product();
        let most = if self.kind == Kind::Float { PIECE } else { CONVERTED_PIECE };
        // Memory that was used a moment ago is in a cache; new memory has to be cleared first.
        let mut bytes = BYTES.take();
        for start in (0..elements as i64).step_by(most as usize) {
            let count = most.min(elements as i64 - start);
            bytes.resize(count as usize * self.dtype().bitsize() / 8, 0);
            self.held.copy_to(&mut bytes, start, count, self.kind)?;
            sink(&bytes)?;
        }
        BYTES.set(bytes);
        Ok(())
    }
}

thread_local! {
    /// A piece of a tensor, for the next one.
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Address, shape and strides of a tensor: equal for two views of the same values.
pub(crate) type Place = (usize, Vec<i64>, Vec<i64>);

/// A tensor that a file is being made of: the run's own, until the run is about to change it.
pub(crate) struct Held(Mutex<State>);

struct State {
    tensor: Tensor,
    /// libtorch's count of changes to the tensor; `None` if it is a copy that nobody else has.
    version: Option<i64>,
}

impl Held {
    fn new(tensor: &Tensor) -> Held {
        let tensor = tensor.detach();
        let version = Some(tensor.internal_version());
        Held(Mutex::new(State { tensor, version }))
    }

    /// Where the tensor's values are.
    pub(crate) fn place(&self) -> Place {
        let tensor = &self.state().tensor;
        (tensor.data_ptr() as usize, tensor.size(), tensor.stride())
    }

    /// Copies elements, in the dtype `kind`.
    fn copy_to(&self, bytes: &mut [u8], start: i64, count: i64, kind: Kind) -> io::Result<()> {
        let _no_gradient = tch::no_grad_guard();
        let state = self.state();
        let piece = state.tensor.reshape([-1]).narrow(0, start, count);
        piece.to_kind(kind).to_device(Device::Cpu).contiguous().copy_data_u8(bytes, count as usize);
        match state.version {
            Some(version) if version != state.tensor.internal_version() => {
                Err(io::Error::other("a tensor was changed while it was being written; this is a bug"))
            }
            _ => Ok(()),
        }
    }

    /// Copies the tensor to the host, unless that was done before, so that the run may change its own. Waits for one piece at
    /// most.
    fn part(&self) {
        let _no_gradient = tch::no_grad_guard();
        let mut state = self.state();
        if state.version.take().is_some() {
            let there = state.tensor.device();
            state.tensor =
                if there == Device::Cpu { state.tensor.copy() } else { state.tensor.to_device(Device::Cpu) };
        }
    }

    /// Bytes that [`Held::part`] would copy.
    fn bytes_to_part(&self) -> u64 {
        let state = self.state();
        if state.version.is_some() { (state.tensor.numel() * size_of::<f32>()) as u64 } else { 0 }
    }

    /// A thread that panicked while it copied has changed nothing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tensors of files that another thread writes, as the run sees them.
#[derive(Default)]
pub(crate) struct OnTheirWay(Vec<Weak<Held>>);

impl OnTheirWay {
    /// Adds one.
    pub(crate) fn push(&mut self, held: &Arc<Held>) {
        self.0.push(Arc::downgrade(held));
    }

    /// Bytes of those that are not written yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().filter_map(Weak::upgrade).map(|held| held.bytes_to_part()).sum()
    }

    /// Copies those that are not written yet, so that the run may change its own.
    pub(crate) fn part(&self) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|held| held.part());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(rows: i64) -> Tensor {
        Tensor::arange(rows * 700, (Kind::Float, Device::Cpu)).view([rows, 700]) / 7.0
    }

    fn wanted(tensor: &Tensor, kind: Kind) -> Vec<u8> {
        let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.to_kind(kind).contiguous().copy_data_u8(&mut bytes, tensor.numel());
        bytes
    }

    #[test]
    fn pieces_together_are_the_tensor_in_every_dtype() {
        // More than one piece, and the last one not full; a transposed one is not contiguous; one is empty, one a scalar.
        let tensors = [
            ramp(1600),
            ramp(30).tr(),
            Tensor::zeros([0], (Kind::Float, Device::Cpu)),
            ramp(1).sum(Kind::Float),
        ];
        for tensor in tensors {
            for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
                let view = HostView::in_kind(&tensor, kind);
                assert_eq!(view.byte_len(), wanted(&tensor, kind).len());
                assert_eq!(view.bytes().unwrap(), wanted(&tensor, kind), "{kind:?} {:?}", tensor.size());
            }
        }
    }

    #[test]
    fn a_tensor_that_parts_in_the_midst_of_being_written_is_written_as_it_was() {
        let mut tensor = ramp(3100);
        let before = wanted(&tensor, Kind::Float);
        let view = HostView::new(&tensor);
        let mut run = OnTheirWay::default();
        run.push(view.held());
        assert_eq!(run.bytes(), before.len() as u64);
        let (mut written, mut pieces) = (Vec::new(), 0);
        let streamed = view.pieces(&mut |piece| {
            pieces += 1;
            written.extend_from_slice(piece);
            if pieces == 1 {
                run.part();
                let _ = tensor.g_add_scalar_(1.0);
            }
            Ok(())
        });
        streamed.unwrap();
        assert!(pieces > 2);
        assert!(written == before);
        assert_ne!(wanted(&tensor, Kind::Float), before);
        assert_eq!(run.bytes(), 0, "nothing is copied twice");
        drop(view);
        run.part();
    }

    #[test]
    fn a_change_without_parting_is_found_out() {
        let mut tensor = ramp(3100);
        let view = HostView::new(&tensor);
        let streamed = view.pieces(&mut |_| {
            let _ = tensor.view([-1]).narrow(0, 5, 1).g_add_scalar_(1.0);
            Ok(())
        });
        assert!(streamed.unwrap_err().to_string().contains("changed while it was being written"));
        let _ = tensor.g_add_scalar_(1.0);
    }
}
