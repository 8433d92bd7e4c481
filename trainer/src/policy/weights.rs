//! The master weights: f32 tensors by their transformers names, read from and written to a Hugging Face folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use rltrain_checkpoints::{Dtype, TensorFile, read_safetensors};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::adapter::Adapter;
use super::error::PolicyError;
use super::gradient::take_gradient;

/// Room for an index of half a million tensors.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// Master weights, f32, ordered by name. All are trained unless some are frozen, or an adapter is trained in their place.
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    /// Dtype of the tensors that their folder holds in another one than f32.
    stored: BTreeMap<String, Kind>,
    adapter: Option<Adapter>,
}

impl Weights {
    /// Reads the tensors named in `shapes` from `folder`: `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` lists. A tensor may be called as the trunk alone calls it, `wte.weight` for
    /// `transformer.wte.weight`, as in the folders of the first GPT-2.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or a tensor is missing or has another shape than wanted.
    pub fn load(
        folder: &Path,
        shapes: &[(String, Vec<i64>)],
        device: Device,
    ) -> Result<Weights, PolicyError> {
        let (mut tensors, mut stored) = (BTreeMap::new(), BTreeMap::new());
        for (file, wanted) in files(folder, shapes)? {
            let path = folder.join(&file);
            let reader = read_safetensors(&path)?;
            for (name, shape) in wanted {
                let inside = if reader.info(name).is_some() { name } else { without_trunk(name) };
                let tensor = load_tensor(&reader, inside, shape)?;
                tensors.insert(name.clone(), tensor.to_device(device).set_requires_grad(true));
                let kind = reader.info(inside).and_then(|info| kind_of(info.dtype));
                stored.extend(kind.filter(|kind| *kind != Kind::Float).map(|kind| (name.clone(), kind)));
            }
        }
        Ok(Weights { tensors, stored, adapter: None })
    }

    /// Weights with these values, each requiring a gradient.
    pub fn of(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Weights {
        let trainable = |(name, tensor): (String, Tensor)| (name, tensor.set_requires_grad(true));
        let tensors = tensors.into_iter().map(trainable).collect();
        Weights { tensors, stored: BTreeMap::new(), adapter: None }
    }

    /// Sets every gradient to zero.
    pub fn zero_gradients(&self) {
        let _no_gradient = tch::no_grad_guard();
        for (_, tensor) in self.trained() {
            let mut gradient = tensor.grad();
            if gradient.defined() {
                let _ = gradient.zero_();
            }
        }
    }

    /// Takes every gradient away, and its memory with it.
    pub(crate) fn drop_gradients(&self) {
        for (_, tensor) in self.trained() {
            drop(take_gradient(tensor));
        }
    }

    /// Names and tensors, in the order of names.
    pub fn into_tensors(self) -> impl Iterator<Item = (String, Tensor)> {
        self.tensors.into_iter()
    }

    /// The same tensors without gradients: what a reference compares with.
    pub fn frozen(self) -> Weights {
        let freeze = |(name, tensor): (String, Tensor)| (name, tensor.set_requires_grad(false));
        Weights { tensors: self.tensors.into_iter().map(freeze).collect(), ..self }
    }

    /// Stops training the tensors called `names`.
    ///
    /// # Panics
    ///
    /// If there is none of such a name.
    pub fn freeze(&mut self, names: &[String]) {
        for name in names {
            let _ = self.get(name).set_requires_grad(false);
        }
    }

    /// Trains `adapter` in place of the weights.
    pub fn adapt(&mut self, adapter: Adapter) {
        for tensor in self.tensors.values() {
            let _ = tensor.set_requires_grad(false);
        }
        self.adapter = Some(adapter);
    }

    /// The same values, of which none requires a gradient: a copy of what is trained, everything else shared.
    pub(crate) fn copied(&self) -> Weights {
        let copied = |(name, tensor): (&String, &Tensor)| (name.clone(), copied(tensor));
        Weights {
            tensors: self.tensors.iter().map(copied).collect(),
            stored: self.stored.clone(),
            adapter: self.adapter.as_ref().map(Adapter::copied),
        }
    }

    /// The same tensors, for another who reads them.
    pub(super) fn shared(&self) -> Weights {
        Weights { adapter: self.adapter.as_ref().map(Adapter::shared), ..self.without_adapter() }
    }

    /// The same tensors without what an adapter changes.
    pub fn without_adapter(&self) -> Weights {
        let shared = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.shallow_clone());
        Weights {
            tensors: self.tensors.iter().map(shared).collect(),
            stored: self.stored.clone(),
            adapter: None,
        }
    }

    /// What is trained in place of the weights, if anything is.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// Everything that is trained, by name: the weights that are not frozen, or the adapter's factors by the names that
    /// they have in PEFT's files.
    pub fn trained(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let weights = self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor));
        weights
            .filter(|(_, tensor)| tensor.requires_grad())
            .chain(self.adapter.iter().flat_map(Adapter::iter))
    }

    /// The tensor called `name` with the adapter's change in it.
    ///
    /// # Panics
    ///
    /// As [`Weights::get`].
    pub fn merged(&self, name: &str) -> Tensor {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        match self.adapter.as_ref().and_then(|adapter| adapter.change(module)) {
            Some(change) => self.get(name) + change,
            None => self.get(name).shallow_clone(),
        }
    }

    /// The dtype in which the folder holds the tensor called `name`.
    pub(super) fn stored_kind(&self, name: &str) -> Kind {
        self.stored.get(name).copied().unwrap_or(Kind::Float)
    }

    /// Moves every value towards that of `other`: `w <- decay * w + (1 - decay) * other`. With a decay of 0 it becomes
    /// `other`, exactly.
    ///
    /// # Panics
    ///
    /// If `other` has other tensors. Both come from one architecture, so that is a bug.
    pub fn blend(&mut self, other: &Weights, decay: f64) {
        let _no_gradient = tch::no_grad_guard();
        for (name, tensor) in &mut self.tensors {
            if decay == 0.0 {
                tensor.copy_(&other.merged(name));
            } else {
                let _ = tensor.lerp_(&other.merged(name), 1.0 - decay);
            }
        }
    }

    /// The tensor called `name`.
    ///
    /// # Panics
    ///
    /// If there is none. Loading checks every name of the family, so this is a bug, not bad input.
    pub fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("no weight `{name}`"))
    }

    /// Every name and tensor, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Where the weights are. Every network has some.
    pub fn device(&self) -> Device {
        self.tensors.values().next().map_or(Device::Cpu, Tensor::device)
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(Tensor::numel).sum()
    }
}

/// A copy of a tensor that is trained, without its gradient; of one that is not trained the same numbers in memory, whatever becomes
/// of the tensor itself.
pub(super) fn copied(tensor: &Tensor) -> Tensor {
    if tensor.requires_grad() { tensor.detach().copy() } else { tensor.detach() }
}

/// Reads one tensor as f32 on the host, after comparing its shape and dtype with what is wanted.
///
/// # Errors
///
/// If it is missing, has another shape or a dtype that weights do not come in, or the disk refuses.
pub fn load_tensor(reader: &TensorFile, name: &str, wanted: &[i64]) -> Result<Tensor, PolicyError> {
    let path = || reader.path().to_owned();
    let Some(info) = reader.info(name) else {
        return Err(PolicyError::MissingTensor { path: path(), name: name.to_owned() });
    };
    let found: Vec<i64> = info.shape.iter().map(|n| *n as i64).collect();
    if found != wanted {
        return Err(PolicyError::Shape {
            path: path(),
            name: name.to_owned(),
            found,
            wanted: wanted.to_vec(),
        });
    }
    let Some(kind) = kind_of(info.dtype) else {
        let found = format!("{:?}", info.dtype);
        return Err(PolicyError::Dtype { path: path(), name: name.to_owned(), found });
    };
    Ok(Tensor::from_data_size(&reader.read(name)?.data, &found, kind).to_kind(Kind::Float))
}

type Wanted<'a> = Vec<(&'a String, &'a Vec<i64>)>;

/// Which file holds which of the wanted tensors.
fn files<'a>(
    folder: &Path,
    shapes: &'a [(String, Vec<i64>)],
) -> Result<BTreeMap<String, Wanted<'a>>, PolicyError> {
    let index = folder.join("model.safetensors.index.json");
    let single = "model.safetensors".to_owned();
    if !index.exists() {
        return Ok(BTreeMap::from([(single, shapes.iter().map(|(name, shape)| (name, shape)).collect())]));
    }
    let json = read_json(&index)?;
    let mut files: BTreeMap<String, Wanted<'a>> = BTreeMap::new();
    for (name, shape) in shapes {
        let entry = |name: &str| json["weight_map"][name].as_str();
        let file = entry(name).or_else(|| entry(without_trunk(name)));
        let file =
            file.ok_or_else(|| PolicyError::MissingTensor { path: index.clone(), name: name.clone() })?;
        if !is_file_name(file) {
            return Err(PolicyError::ShardName { path: index, name: name.clone(), found: file.to_owned() });
        }
        files.entry(file.to_owned()).or_default().push((name, shape));
    }
    Ok(files)
}

/// Whether `name` is that of a file beside the one that says it.
fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
        && !name.contains('\\')
}

/// `name` without its first part, the trunk's: `transformer.wte.weight` to `wte.weight`.
fn without_trunk(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, rest)| rest)
}

/// Reads and parses a JSON file of a model folder.
///
/// # Errors
///
/// If it cannot be read, is larger than any such file, or is not JSON.
pub(crate) fn read_json(path: &Path) -> Result<Value, PolicyError> {
    let read = || -> io::Result<Vec<u8>> {
        let found = std::fs::metadata(path)?;
        // Reading a device has no end, and opening a pipe waits for someone.
        if !found.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if found.len() > MAX_JSON_BYTES {
            let found = found.len();
            return Err(io::Error::other(format!("it has {found} bytes, at most {MAX_JSON_BYTES} are read")));
        }
        std::fs::read(path)
    };
    let text = read().map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| PolicyError::Json { path: path.to_owned(), source })
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        _ => None,
    }
}
