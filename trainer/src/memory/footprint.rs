//! Bytes by what they are for.

use std::fmt;
use std::ops::{Index, IndexMut};

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The policy's f32 weights, and the network in the compute dtype.
    Weights,
    /// Gradients of what is trained, the critic's apart.
    Gradients,
    /// Running means of the policy's optimizer.
    Optimizer,
    /// A reference of its own.
    Reference,
    /// The critic's weights, gradients and running means.
    Critic,
    /// Keys and values of attempts under way and of earlier turns.
    KeysAndValues,
    /// What layers compute, and what the backward pass keeps of it.
    Activations,
    /// Logits and what is made of them.
    Logits,
}

impl Class {
    /// All of them, in the order of reports.
    pub const ALL: [Class; 8] = [
        Class::Weights,
        Class::Gradients,
        Class::Optimizer,
        Class::Reference,
        Class::Critic,
        Class::KeysAndValues,
        Class::Activations,
        Class::Logits,
    ];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Class::Weights => "weights",
            Class::Gradients => "gradients",
            Class::Optimizer => "optimizer",
            Class::Reference => "reference",
            Class::Critic => "critic",
            Class::KeysAndValues => "keys and values",
            Class::Activations => "activations",
            Class::Logits => "logits",
        })
    }
}

/// Bytes of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint([usize; Class::ALL.len()]);

impl Footprint {
    /// The sum of all classes.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// Of two things that go on at once on top of `resident`, which is in each of them.
    pub fn beside(mut self, other: Footprint, resident: Footprint) -> Footprint {
        for class in Class::ALL {
            self[class] += other[class] - resident[class];
        }
        self
    }

    /// The same with so many more bytes of a class.
    pub fn with(mut self, class: Class, bytes: usize) -> Footprint {
        self[class] += bytes;
        self
    }
}

impl Index<Class> for Footprint {
    type Output = usize;

    fn index(&self, class: Class) -> &usize {
        &self.0[class as usize]
    }
}

impl IndexMut<Class> for Footprint {
    fn index_mut(&mut self, class: Class) -> &mut usize {
        &mut self.0[class as usize]
    }
}

/// What is in memory at the peak of a part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The part of the step.
    pub name: &'static str,
    /// What it takes, what stays from step to step included.
    pub footprint: Footprint,
}
