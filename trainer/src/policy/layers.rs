//! Where a network has its layers: all of them at once, or each for as long as it is computed.

use std::sync::Arc;

use tch::Kind;

use super::architecture::Layer;
use super::network::LoadedLayer;
use super::weights::Weights;

/// Has the weights of single layers in memory for a while. Others have them in between.
pub(crate) trait LayerSource: Send + Sync {
    /// Brings the weights of layer `layer`, from 0.
    fn hold(&self, layer: usize);

    /// Lets go of them. Nothing made of them is used any more.
    fn release(&self, layer: usize);
}

/// Of a network that is only looked at.
pub(super) struct Nowhere;

impl LayerSource for Nowhere {
    fn hold(&self, _layer: usize) {}

    fn release(&self, _layer: usize) {}
}

/// The layers of a network.
pub(super) enum Layers {
    /// With their weights in the compute dtype.
    Loaded(Vec<LoadedLayer>),
    /// Loaded each time they are computed.
    OneByOne(Box<OneByOne>),
}

/// What layers are loaded from.
pub(super) struct OneByOne {
    pub(super) layers: Vec<Layer>,
    pub(super) weights: Weights,
    pub(super) kind: Kind,
    pub(super) source: Arc<dyn LayerSource>,
}

impl Layers {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Layers::Loaded(layers) => layers.len(),
            Layers::OneByOne(one) => one.layers.len(),
        }
    }

    /// Does `work` with layer `index`, of which nothing may be kept but what was computed.
    pub(super) fn with<T>(&self, index: usize, work: impl FnOnce(&LoadedLayer) -> T) -> T {
        match self {
            Layers::Loaded(layers) => work(&layers[index]),
            Layers::OneByOne(one) => {
                let OneByOne { layers, weights, kind, source } = &**one;
                source.hold(index);
                let loaded = LoadedLayer::new(index, &layers[index], weights, *kind);
                let done = work(&loaded);
                drop(loaded);
                source.release(index);
                done
            }
        }
    }

    /// Whether all of them are of the form that is computed without a graph.
    pub(super) fn are_plain(&self) -> bool {
        match self {
            Layers::Loaded(layers) => layers.iter().all(LoadedLayer::is_plain),
            Layers::OneByOne(one) => {
                one.weights.adapter().is_none() && one.layers.iter().all(Layer::is_plain)
            }
        }
    }
}
