//! `rltrain schema`.

use super::failure::Failure;
use super::print_line;

/// Prints the JSON schema of recipes.
pub(super) fn run() -> Result<(), Failure> {
    print_line(crate::recipe::schema().trim_end());
    Ok(())
}
