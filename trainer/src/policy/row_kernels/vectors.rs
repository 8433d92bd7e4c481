//! Loops compiled for the widest vectors that the processor has.

/// Numbers that are summed side by side: the lanes of the widest vectors. The order of a sum is part of its result, so that it is
/// the same whatever the processor's vectors hold.
pub(in crate::policy) const LANES: usize = 16;

/// The widest vectors that the processor has, of those that [`vectorised!`] compiles for.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Widest {
    /// AVX-512.
    Bits512,
    /// AVX2 with fused products and sums.
    Bits256,
    /// What every processor has.
    Baseline,
}

#[cfg(target_arch = "x86_64")]
impl Widest {
    #[inline(always)]
    pub(in crate::policy) fn here() -> Widest {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma")
        {
            Widest::Bits512
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Widest::Bits256
        } else {
            Widest::Baseline
        }
    }
}

/// Compiles a function once for each width of vectors, and calls the widest. What it calls must be `#[inline(always)]`: a function
/// apart is compiled for the baseline, where a fused product and sum is a call into the C library.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident<$element:ident>($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$attribute])*
        $visibility fn $name<$element: Element>($($argument: $type),*) {
            #[inline(always)]
            fn compiled<$element: Element>($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                use $crate::policy::row_kernels::vectors::Widest;

                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn with_512_bits<$element: Element>($($argument: $type),*) {
                    compiled($($argument),*);
                }

                #[target_feature(enable = "avx2,fma")]
                fn with_256_bits<$element: Element>($($argument: $type),*) {
                    compiled($($argument),*);
                }

                #[expect(unsafe_code, reason = "a function compiled for some processors is unsafe to call on all")]
                match Widest::here() {
                    // SAFETY: the processor has the features.
                    Widest::Bits512 => return unsafe { with_512_bits($($argument),*) },
                    // SAFETY: as above.
                    Widest::Bits256 => return unsafe { with_256_bits($($argument),*) },
                    Widest::Baseline => {}
                }
            }
            compiled($($argument),*);
        }
    };
}

pub(in crate::policy) use vectorised;

/// The sum of side-by-side sums, always in the same order.
#[inline(always)]
pub(in crate::policy) fn sum(lanes: [f32; LANES]) -> f32 {
    // Without this the compiler sees two at a time added here, and computes the loop before in vectors of two as well.
    let mut halves = std::hint::black_box(lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            halves[lane] += halves[lane + width];
        }
        width /= 2;
    }
    halves[0]
}
