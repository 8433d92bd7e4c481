//! Numbers as they are stored.

use tch::Kind;

/// A format that tensors store; everything is computed in f32.
pub(in crate::policy) trait Element: Copy + Send + Sync + 'static {
    const KIND: Kind;

    fn to_f32(self) -> f32;

    /// The nearest number of the format, the even one of two.
    fn from_f32(value: f32) -> Self;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }
}

/// The upper half of an f32.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Bf16(u16);

impl Element for Bf16 {
    const KIND: Kind = Kind::BFloat16;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Bf16 {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        // Rounding up could carry a NaN's bits into its sign.
        Bf16(if value.is_nan() { 0x7fc0 } else { rounded as u16 })
    }
}

/// Runs `$body` with `$element` standing for the format of a tensor of this kind.
macro_rules! with_element {
    ($kind:expr, $element:ident => $body:expr) => {
        match $kind {
            tch::Kind::Float => {
                type $element = f32;
                $body
            }
            tch::Kind::BFloat16 => {
                type $element = $crate::policy::row_kernels::element::Bf16;
                $body
            }
            kind => unreachable!("`exist_for` says that there is nothing for {kind:?}"),
        }
    };
}

pub(in crate::policy) use with_element;
