//! The weights on their way from one file to the other, one tensor in memory at a time.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use rltrain_checkpoints::{Dtype, View, write_safetensors};

use super::header::Gguf;
use super::llama::{PlannedTensor, uninterleave_rows};
use super::{ImportError, WeightDtype};

/// How often a copy says how far it is: a big model takes minutes, and each report may be a line of a log.
const REPORTS: usize = 8;

/// The GGUF file while its tensors are being copied, shared by all of them.
struct Source<'a> {
    gguf: &'a mut Gguf,
    progress: &'a mut dyn FnMut(&str),
    done: usize,
    total: usize,
    /// Why a tensor could not be read, which [`View::data`] has no way to say.
    failed: Option<ImportError>,
}

impl Source<'_> {
    fn read(&mut self, tensor: &PlannedTensor) -> Option<Vec<f32>> {
        if self.done.is_multiple_of(self.total.div_ceil(REPORTS)) {
            (self.progress)(&format!("copying tensor {} of {}", self.done + 1, self.total));
        }
        self.done += 1;
        match self.gguf.read_tensor(&tensor.source) {
            Ok(values) => Some(values),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}

/// A tensor that is read, dequantised and reordered when its turn to be written comes.
struct LazyTensor<'a, 'b> {
    plan: &'a PlannedTensor,
    dtype: WeightDtype,
    source: &'a RefCell<Source<'b>>,
}

impl View for LazyTensor<'_, '_> {
    fn dtype(&self) -> Dtype {
        match self.dtype {
            WeightDtype::F32 => Dtype::F32,
            WeightDtype::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.plan.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // No bytes where some are due: the writer gives up, and the reason waits in the source.
        let Some(mut values) = self.source.borrow_mut().read(self.plan) else { return Cow::Borrowed(&[]) };
        if let Some(heads) = self.plan.rotated_heads {
            values = uninterleave_rows(&values, heads, self.plan.shape[1]);
        }
        Cow::Owned(match self.dtype {
            WeightDtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            WeightDtype::Bf16 => {
                values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
            }
        })
    }

    fn data_len(&self) -> usize {
        self.plan.shape.iter().product::<usize>() * self.dtype.bytes()
    }
}

/// Writes `path` with every planned tensor.
pub(super) fn write(
    path: &Path,
    gguf: &mut Gguf,
    plan: &[PlannedTensor],
    dtype: WeightDtype,
    metadata: &BTreeMap<String, String>,
    progress: &mut dyn FnMut(&str),
) -> Result<(), ImportError> {
    let source = RefCell::new(Source { gguf, progress, done: 0, total: plan.len(), failed: None });
    let tensors = plan.iter().map(|plan| (plan.name.clone(), LazyTensor { plan, dtype, source: &source }));
    let written = write_safetensors(path, tensors, metadata);
    match source.into_inner().failed {
        Some(error) => Err(error),
        None => written.map_err(ImportError::write(path.parent().unwrap_or(path))),
    }
}
