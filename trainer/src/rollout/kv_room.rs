//! How many attempts are decoded together, and what their keys and values take.

use tch::Kind;

use super::prefill::{ROWS, padding};
use crate::policy::{KvCache, PolicyError, Sizes};

/// Columns that attention looks at come in multiples of this, so that shapes (and with them the library's cached kernels)
/// change every 16 tokens only, and rounding does not depend on the longest row.
pub(super) const COLUMNS: usize = 16;

/// What the cache of one call of the engine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvRoom {
    /// Attempts decoded together at most.
    pub rows: usize,
    /// Rows of the cache: `rows`, and those that are missing to a multiple of 16.
    pub padded_rows: usize,
    /// Tokens that a row can hold, of the prompt and what follows; where an encoder reads the prompt, of what follows.
    pub columns: usize,
    /// Tokens of a prompt that an encoder reads, which a row holds apart; 0 where there is no encoder.
    pub read_columns: usize,
    /// Bytes of the cache.
    pub bytes: usize,
    /// Bytes that are left for the histories of earlier turns.
    pub left: usize,
}

/// What decides the room.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Attempts in all.
    pub attempts: usize,
    /// Tokens of the longest prompt.
    pub longest_prompt: usize,
    /// How many of its last tokens at most are the attempt's own: [`Request::written`](super::Request::written).
    pub longest_written: usize,
    /// Tokens that may follow it.
    pub max_tokens: usize,
    /// Most attempts decoded together.
    pub max_batch: usize,
    /// Most memory for keys and values, in MiB; `None` is what `max_batch` needs.
    pub kv_memory_mib: Option<usize>,
}

impl KvRoom {
    /// The room for what is wanted, of a network of these `sizes` that computes in `kind`.
    ///
    /// # Errors
    ///
    /// If the memory allowed does not hold 16 rows.
    pub fn of(wanted: &Wanted, sizes: &Sizes, kind: Kind) -> Result<KvRoom, PolicyError> {
        let (columns, read_columns) = if sizes.has_encoder {
            // Everything that is written stands behind a token of its own.
            (1 + wanted.longest_written + wanted.max_tokens, wanted.longest_prompt)
        } else {
            (wanted.longest_prompt + wanted.max_tokens, 0)
        };
        let [columns, read_columns] =
            [columns, read_columns].map(|columns| columns.next_multiple_of(COLUMNS));
        let per_row = (columns + read_columns) * KvCache::bytes_per_token(sizes, kind);
        let rows = rows_within(wanted.attempts.min(wanted.max_batch), per_row, wanted.kv_memory_mib)?;
        let padded_rows = rows + padding(rows);
        // What the rows leave of the memory allowed; as much again as they take where no limit is set.
        let bytes = padded_rows * per_row;
        let left = wanted.kv_memory_mib.map_or(bytes, |mib| (mib << 20).saturating_sub(bytes + per_row));
        Ok(KvRoom { rows, padded_rows, columns, read_columns, bytes, left })
    }
}

/// How many of the `wanted` rows fit into the memory allowed; in steps of 16 where not all do.
///
/// # Errors
///
/// If not even 16 do.
fn rows_within(
    wanted: usize,
    bytes_per_row: usize,
    allowed_mib: Option<usize>,
) -> Result<usize, PolicyError> {
    let Some(allowed) = allowed_mib else { return Ok(wanted) };
    // One more is what the prompt takes whose samples have started in part.
    let fitting = ((allowed << 20) / bytes_per_row.max(1)).saturating_sub(1) / ROWS * ROWS;
    if fitting == 0 {
        let needed = ((ROWS + 1) * bytes_per_row).div_ceil(1 << 20);
        return Err(PolicyError::KvMemory { allowed, needed });
    }
    Ok(wanted.min(fitting))
}
