//! Gradients of all processes added up, bucket by bucket.

use std::sync::{Arc, MutexGuard, PoisonError};

use tch::Tensor;

use super::c10d::{C10dError, Group, Reduction, Underway};
use super::{Lane, Ranks, RanksError, Together};
use crate::policy::{Weights, gradient_of};

/// Elements of a bucket. Small tensors travel together, because each collective costs a round trip; buckets travel one behind the
/// other, so that one is copied while another is on its way.
const BUCKET: usize = 1 << 23;

/// What the sum of gradients is called where it fails.
const SUM: &str = "the sum of gradients";

/// How many buckets are on their way at once.
const IN_FLIGHT: usize = 2;

impl Ranks {
    /// Replaces the gradient of every trained weight by the sum over all processes, the same bit for bit everywhere. A weight that has
    /// a gradient somewhere has one everywhere afterwards; one that has none anywhere has none.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn sum_gradients(&self, weights: &Weights) -> Result<(), RanksError> {
        let Some(together) = &self.0 else { return Ok(()) };
        let _no_gradient = tch::no_grad_guard();
        together.collective(SUM, || together.sum_gradients(weights))
    }

    /// Begins to add the `flat` of all processes up for process `owner`. All begin the same sums in the same order.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(crate) fn begin_sum(&self, flat: Tensor, owner: usize) -> Result<TensorUnderway, RanksError> {
        let Some(together) = &self.0 else { return Ok(TensorUnderway(Journey::Done(flat))) };
        let begun = together.collective(SUM, || {
            let (learning, cuda) = (together.group(Lane::Learning), together.cuda());
            cuda.as_ref().unwrap_or(&learning).sum_to(flat, owner)
        })?;
        Ok(TensorUnderway(Journey::Begun(begun, Arc::clone(together))))
    }

    /// Begins to send the `flat` of process `owner` to all others, whose own is overwritten. All begin the same in the same order.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(crate) fn begin_broadcast(&self, flat: Tensor, owner: usize) -> Result<TensorUnderway, RanksError> {
        let Some(together) = &self.0 else { return Ok(TensorUnderway(Journey::Done(flat))) };
        let begun = together.collective("the weights of a layer", || {
            let (learning, cuda) = (together.group(Lane::Learning), together.cuda());
            cuda.as_ref().unwrap_or(&learning).broadcast_own(flat, owner)
        })?;
        Ok(TensorUnderway(Journey::Begun(begun, Arc::clone(together))))
    }

    /// Replaces a column by the sum over all processes: whoever has not computed an element has zero for it.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn sum_column(&self, lane: Lane, column_n: &Tensor) -> Result<Tensor, RanksError> {
        let Some(together) = &self.0 else { return Ok(column_n.shallow_clone()) };
        let host_n = column_n.to_device(tch::Device::Cpu).copy();
        together.collective("the sum of a column", || {
            together.group(lane).all_reduce(&host_n, Reduction::Sum)?.wait()
        })?;
        Ok(host_n.to_device(column_n.device()))
    }
}

impl Ranks {
    /// Replaces a tensor, everywhere, by that of process `root`.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn broadcast(&self, what: &'static str, tensor: &Tensor, root: usize) -> Result<(), RanksError> {
        let Some(together) = &self.0 else { return Ok(()) };
        together.collective(what, || {
            let (learning, cuda) = (together.group(Lane::Learning), together.cuda());
            cuda.as_ref().unwrap_or(&learning).broadcast(tensor, root)?.wait()
        })
    }
}

/// A tensor on its way to the process, or the processes, that want it.
pub(crate) struct TensorUnderway(Journey);

enum Journey {
    /// Of one process.
    Done(Tensor),
    /// Of several.
    Begun(Underway, Arc<Together>),
}

impl TensorUnderway {
    /// Waits for it. Of a sum only the owner has anything; what others get is to be forgotten.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(crate) fn wait(self) -> Result<Tensor, RanksError> {
        match self.0 {
            Journey::Done(flat) => Ok(flat),
            Journey::Begun(begun, together) => {
                together.collective("the exchange of an update", || begun.wait())
            }
        }
    }
}

impl Together {
    /// The group for tensors on a GPU.
    fn cuda(&self) -> Option<MutexGuard<'_, Group>> {
        self.cuda.as_ref().map(|group| group.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn sum_gradients(&self, weights: &Weights) -> Result<(), C10dError> {
        let learning = self.group(Lane::Learning);
        let trained: Vec<Tensor> = weights.trained().map(|(_, weight)| weight.shallow_clone()).collect();
        let has: Vec<i64> = trained.iter().map(|weight| i64::from(weight.grad().defined())).collect();
        let anywhere = Tensor::from_slice(&has);
        learning.all_reduce(&anywhere, Reduction::Max)?.wait()?;
        let anywhere = Vec::<i64>::try_from(anywhere).expect("flags are a vector");
        let mut gradients = Vec::new();
        for (weight, anywhere) in trained.iter().zip(anywhere) {
            if anywhere != 0 {
                gradients.push(gradient_of(weight));
            }
        }
        let cuda = self.cuda();
        let group = cuda.as_ref().unwrap_or(&learning);
        let buckets: Vec<&[Tensor]> = buckets(&gradients);
        for together in buckets.chunks(IN_FLIGHT) {
            let flat: Vec<Tensor> = together.iter().map(|bucket| flatten(bucket)).collect();
            let works = flat
                .iter()
                .map(|flat| group.all_reduce(flat, Reduction::Sum))
                .collect::<Result<Vec<_>, _>>()?;
            works.into_iter().try_for_each(super::c10d::Work::wait)?;
            for (flat, bucket) in flat.iter().zip(together) {
                unflatten(flat, bucket);
            }
        }
        Ok(())
    }
}

/// Cuts tensors into runs of at most [`BUCKET`] elements and of one kind; a larger tensor goes alone.
fn buckets(tensors: &[Tensor]) -> Vec<&[Tensor]> {
    let mut buckets = Vec::new();
    let (mut start, mut elements) = (0, 0);
    for (index, tensor) in tensors.iter().enumerate() {
        let is_other = index > start && tensor.kind() != tensors[start].kind();
        if index > start && (is_other || elements + tensor.numel() > BUCKET) {
            buckets.push(&tensors[start..index]);
            (start, elements) = (index, 0);
        }
        elements += tensor.numel();
    }
    if start < tensors.len() {
        buckets.push(&tensors[start..]);
    }
    buckets
}

/// A bucket's tensors one behind the other. A tensor that is alone is not copied: the reduction works on it in place.
fn flatten(bucket: &[Tensor]) -> Tensor {
    match bucket {
        [alone] if alone.is_contiguous() => alone.view([-1]),
        _ => Tensor::cat(&bucket.iter().map(|tensor| tensor.reshape([-1])).collect::<Vec<_>>(), 0),
    }
}

/// The reverse of [`flatten`].
fn unflatten(flat: &Tensor, bucket: &[Tensor]) {
    if let [alone] = bucket
        && alone.is_contiguous()
    {
        return;
    }
    let mut start = 0;
    for tensor in bucket {
        let count = tensor.numel() as i64;
        let mut tensor = tensor.shallow_clone();
        tensor.copy_(&flat.narrow(0, start, count).view_as(&tensor));
        start += count;
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn what_is_flattened_comes_back() {
        let of = |shape: &[i64], kind| Tensor::rand(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
        let tensors = [
            of(&[3, 5], Kind::Float),
            of(&[7], Kind::Float),
            of(&[2, 2], Kind::BFloat16),
            of(&[BUCKET as i64 + 1], Kind::Float),
            of(&[4], Kind::Float),
        ];
        let before: Vec<Tensor> = tensors.iter().map(Tensor::copy).collect();
        let cut = buckets(&tensors);
        assert_eq!(cut.iter().map(|bucket| bucket.len()).collect::<Vec<_>>(), [2, 1, 1, 1]);
        for bucket in cut {
            let flat = flatten(bucket);
            unflatten(&(flat.shallow_clone() * 2.0), bucket);
            if bucket.len() > 1 {
                continue;
            }
            // In place where it is alone.
            let _ = flat.shallow_clone().g_mul_scalar_(2.0);
        }
        for (tensor, before) in tensors.iter().zip(before) {
            assert!(tensor.equal(&(before * 2.0)));
        }
    }
}
