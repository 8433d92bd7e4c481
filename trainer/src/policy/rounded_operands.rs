//! Products of f32 matrices whose operands are rounded to bf16, while their sums and results stay f32.
//!
//! The output layer wants f32 logits: those of magnitude 30 in bf16 are rounded to steps of 0.25. A product in f32 costs four to
//! eight times one in bf16 on a processor with AMX tiles, though, and for a vocabulary of 50,000 the output layer is a
//! fifth of a small model. oneDNN multiplies bf16 operands into f32 results where libtorch allows it to round f32 operands
//! (`torch.backends.mkldnn.matmul.fp32_precision = "bf16"` in Python). Where the processor has no bf16 products, it does not.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static PERMITTED: AtomicBool = AtomicBool::new(false);

/// Lets output layers in bf16 round the operands of their products from now on. For programs that compute on one thread at a time:
/// libtorch is told for the whole process, and f32 products that another thread computes meanwhile would be rounded as well.
pub fn permit_rounded_operands() {
    PERMITTED.store(true, Ordering::Relaxed);
}

/// Takes the permission back, for a program that begins to compute on several threads.
pub fn refuse_rounded_operands() {
    PERMITTED.store(false, Ordering::Relaxed);
}

/// Runs `products` with operands of f32 products on the processor rounded to bf16, where that is permitted. Backward passes started
/// inside round too.
pub(super) fn with_rounded_operands<T>(products: impl FnOnce() -> T) -> T {
    let _allowed = PERMITTED.load(Ordering::Relaxed).then(Allowed::new);
    products()
}

/// How many want it now.
static HOLDERS: Mutex<usize> = Mutex::new(0);

struct Allowed;

impl Allowed {
    fn new() -> Allowed {
        let mut holders = lock();
        if *holders == 0 {
            set_precision(PRECISION_BF16);
        }
        *holders += 1;
        Allowed
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        let mut holders = lock();
        *holders -= 1;
        if *holders == 0 {
            set_precision(PRECISION_IEEE);
        }
    }
}

fn lock() -> MutexGuard<'static, usize> {
    HOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

// The numbers of `at::Float32Backend`, `at::Float32Op` and `at::Float32Precision` in ATen/Context.h of PyTorch 2.13.0, the only
// version that torch-sys 0.26 links with.
const BACKEND_MKLDNN: c_int = 2;
const OP_MATMUL: c_int = 3;
const PRECISION_IEEE: c_int = 1;
const PRECISION_BF16: c_int = 3;

#[expect(unsafe_code, reason = "torch-sys has no function for it")]
fn set_precision(precision: c_int) {
    // SAFETY: the signatures are those of ATen/Context.h: a free function that returns a reference to the one context, which lives
    // as long as the process, and a member function of three enumerations of the size of an `int`, with the object first.
    unsafe { set_float32_precision(global_context(), BACKEND_MKLDNN, OP_MATMUL, precision) }
}

#[expect(unsafe_code, reason = "torch-sys has no function for it")]
// SAFETY: as above. The names are those of libtorch's C++ functions; another version without them does not link.
unsafe extern "C" {
    #[link_name = "_ZN2at13globalContextEv"]
    safe fn global_context() -> *mut c_void;
    #[link_name = "_ZN2at7Context19setFloat32PrecisionENS_14Float32BackendENS_9Float32OpENS_16Float32PrecisionE"]
    fn set_float32_precision(context: *mut c_void, backend: c_int, operation: c_int, precision: c_int);
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    /// Other tests compute at the same time, and would be rounded with it.
    #[test]
    fn operands_are_rounded_inside_only_and_sums_are_f32_in_a_process_of_its_own() {
        let name = "policy::rounded_operands::tests::operands_are_rounded_inside_only_and_sums_are_f32";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--ignored"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// Rounded or not, as the processor has it, and nothing between; afterwards as before.
    #[test]
    #[ignore = "changes what libtorch does in the whole process: the test above starts it"]
    fn operands_are_rounded_inside_only_and_sums_are_f32() {
        permit_rounded_operands();
        tch::manual_seed(1);
        let random = |rows| Tensor::randn([rows, 512], (Kind::Float, Device::Cpu));
        let (x, w) = (random(64), random(320));
        let product = || x.linear::<&Tensor>(&w, None);
        let exact = product();
        let inside = with_rounded_operands(|| with_rounded_operands(product));
        let rounded = |x: &Tensor| x.to_kind(Kind::BFloat16).to_kind(Kind::Double);
        let distance = |wanted: &Tensor| (&inside - wanted).abs().max().double_value(&[]);
        let of_rounded = distance(&rounded(&x).linear::<&Tensor>(&rounded(&w), None));
        let of_exact = distance(&exact);
        assert!(of_rounded < 1e-3 || of_exact < 1e-3, "off by {of_rounded} and {of_exact}");
        assert_eq!(product(), exact);
    }
}
