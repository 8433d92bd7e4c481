//! Attention of one stretch of tokens in the heads that share one head of keys and values: forward, and backward.
//!
//! A stretch sees what lies before it in its sequence, and itself up to each token. A few query rows are looked at at a time: their
//! scores are a small matrix in the cache, which both passes compute by the products of [`super::product`]. Columns that no row of
//! a tile sees are left out. Everything is f32 in between.

use std::ops::Range;

use super::super::row_kernels::element::Element;
use super::super::row_kernels::exponential::exp;
use super::super::row_kernels::vectors::{LANES, sum, vectorised};
use super::pieces::zeros;
use super::product::{ADDED_ROWS, COLUMNS, Left, ROWS, tile, whole_panels};
use super::shared::Shared;

/// Query rows that are looked at together; a multiple of [`ROWS`].
const BLOCK: usize = 48;

/// The heads of a layer.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Heads {
    /// Query heads.
    pub(in crate::policy) heads: usize,
    /// Key-value heads; divides `heads`.
    pub(in crate::policy) key_value_heads: usize,
    /// Width of a head.
    pub(in crate::policy) head_dim: usize,
    /// Factor of the scores before the softmax.
    pub(in crate::policy) scale: f32,
    /// How many tokens a token sees, itself included.
    pub(in crate::policy) window: Option<usize>,
}

/// Tokens that see those of a prompt, and each other up to themselves.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Stretch {
    /// What lies before them; empty where they are the prompt.
    pub(in crate::policy) prompt: Range<usize>,
    /// The tokens.
    pub(in crate::policy) tokens: Range<usize>,
}

impl Heads {
    /// Width of a head in whole panels: numbers behind the last one are 0.
    pub(super) fn padded(&self) -> usize {
        whole_panels(self.head_dim)
    }
}

impl Stretch {
    /// How many tokens the last one sees.
    pub(super) fn keys(&self) -> usize {
        self.prompt.len() + self.tokens.len()
    }
}

/// A stretch in the query heads of one key-value head.
pub(super) struct Item<'a, E> {
    /// Queries, keys and values of all tokens, `[T, (H + 2 K) D]`.
    pub(super) qkv: &'a [E],
    pub(super) heads: &'a Heads,
    pub(super) stretch: &'a Stretch,
    pub(super) key_value_head: usize,
}

impl<'a, E: Element> Item<'a, E> {
    fn part(&self, token: usize, head: usize) -> &'a [E] {
        let Heads { heads, key_value_heads, head_dim, .. } = *self.heads;
        &self.qkv[(token * (heads + 2 * key_value_heads) + head) * head_dim..][..head_dim]
    }

    /// The token of a column of the scores.
    fn token(&self, column: usize) -> usize {
        let Stretch { prompt, tokens } = self.stretch;
        if column < prompt.len() { prompt.start + column } else { tokens.start + column - prompt.len() }
    }

    fn key(&self, column: usize) -> &'a [E] {
        self.part(self.token(column), self.heads.heads + self.key_value_head)
    }

    fn value(&self, column: usize) -> &'a [E] {
        self.part(self.token(column), self.heads.heads + self.heads.key_value_heads + self.key_value_head)
    }

    fn query_heads(&self) -> Range<usize> {
        let group = self.heads.heads / self.heads.key_value_heads;
        self.key_value_head * group..(self.key_value_head + 1) * group
    }

    /// Columns that the token of a row sees.
    fn seen(&self, row: usize) -> Range<usize> {
        let end = self.stretch.prompt.len() + row + 1;
        self.heads.window.map_or(0, |window| end.saturating_sub(window))..end
    }

    /// Columns, in whole panels, that some row of a tile sees; rows behind the last token count as it.
    fn seen_by(&self, first_row: usize) -> Range<usize> {
        let last = (first_row + ROWS - 1).min(self.stretch.tokens.len() - 1);
        self.seen(first_row).start / COLUMNS * COLUMNS..whole_panels(self.seen(last).end)
    }

    /// First rows of blocks.
    fn blocks(&self) -> impl Iterator<Item = usize> {
        (0..self.stretch.tokens.len()).step_by(BLOCK)
    }

    /// Rows of the block that begins at `first`, and the same in whole tiles.
    fn rows(&self, first: usize) -> (usize, usize) {
        let rows = (self.stretch.tokens.len() - first).min(BLOCK);
        (rows, rows.next_multiple_of(ROWS))
    }
}

/// `[n, D]` as panels `[n / COLUMNS, D, COLUMNS]` of its transposed; columns behind the last are 0.
#[inline(always)]
fn transposed<'a, E: Element>(n: usize, d: usize, row: impl Fn(usize) -> &'a [E]) -> Vec<f32> {
    let mut panels = zeros(whole_panels(n) * d);
    for index in 0..n {
        let start = index / COLUMNS * COLUMNS * d + index % COLUMNS;
        for (k, x) in row(index).iter().enumerate() {
            panels[start + k * COLUMNS] = x.to_f32();
        }
    }
    panels
}

/// `[n, D]` as panels `[D / COLUMNS, n, COLUMNS]`, each in whole panels of rows; rows behind the last are 0.
#[inline(always)]
fn panelled<'a, E: Element>(n: usize, d: usize, row: impl Fn(usize) -> &'a [E]) -> Vec<f32> {
    let height = whole_panels(n);
    let mut panels = zeros(height * d);
    for index in 0..n {
        for (panel, x) in row(index).chunks(COLUMNS).enumerate() {
            let to = &mut panels[(panel * height + index) * COLUMNS..][..COLUMNS];
            for (to, x) in to.iter_mut().zip(x) {
                *to = x.to_f32();
            }
        }
    }
    panels
}

/// Rows of a block `[rows, D]`, times a factor; those behind the last are 0.
#[inline(always)]
fn load_rows<'a, E: Element>(
    to: &mut [f32],
    rows: usize,
    d: usize,
    factor: f32,
    row: impl Fn(usize) -> &'a [E],
) {
    for (index, to) in to.chunks_exact_mut(d).enumerate() {
        if index < rows {
            for (to, x) in to.iter_mut().zip(row(index)) {
                *to = x.to_f32() * factor;
            }
        } else {
            to.fill(0.0);
        }
    }
}

/// Copies a tile to row `row` and column `column` of a matrix of this width.
#[inline(always)]
fn store(to: &mut [f32], width: usize, row: usize, column: usize, tile: &[[f32; COLUMNS]; ROWS]) {
    for (r, numbers) in tile.iter().enumerate() {
        to[(row + r) * width + column..][..COLUMNS].copy_from_slice(numbers);
    }
}

/// `ROWS` rows of `x` `[.., D]` from `row` on, times panels `[n / COLUMNS, D, COLUMNS]`: columns `columns` of `to`.
#[inline(always)]
fn score(
    x: &[f32],
    d: usize,
    row: usize,
    columns: &Range<usize>,
    panels: &[f32],
    to: &mut [f32],
    width: usize,
) {
    let left = Left { numbers: &x[row * d..], row: d, step: 1 };
    for column in columns.clone().step_by(COLUMNS) {
        store(to, width, row, column, &tile::<ROWS>(left, d, &panels[column * d..]));
    }
}

vectorised! {
    /// Writes what the stretch's tokens attend to into `out` `[T, H D]`, and the logarithms of the softmaxes' denominators into
    /// `log_sums` `[T, H]`.
    pub(super) fn forward<E>(item: &Item<'_, E>, out: &Shared<'_, E>, log_sums: &Shared<'_, f32>) {
        let Heads { heads, head_dim, scale, .. } = *item.heads;
        let d = item.heads.padded();
        let n = item.stretch.keys();
        let (keys, values) = (transposed(n, d, |j| item.key(j)), panelled(n, d, |j| item.value(j)));
        let width = whole_panels(n);
        let (mut query, mut scores) = (zeros(BLOCK * d), zeros(BLOCK * width));
        for head in item.query_heads() {
            for first in item.blocks() {
                let (rows, whole) = item.rows(first);
                let token = |row: usize| item.stretch.tokens.start + first + row;
                load_rows(&mut query[..whole * d], rows, d, scale, |row| item.part(token(row), head));
                for row in (0..whole).step_by(ROWS) {
                    let columns = item.seen_by(first + row);
                    score(&query, d, row, &columns, &keys, &mut scores, width);
                    let mut factors = [0f32; ROWS];
                    for r in row..row + ROWS {
                        let scores = &mut scores[r * width..][columns.clone()];
                        if r >= rows {
                            scores.fill(0.0);
                            continue;
                        }
                        let seen = item.seen(first + r);
                        let seen = seen.start - columns.start..seen.end - columns.start;
                        let (largest, sum) = to_weights(scores, &seen);
                        factors[r - row] = 1.0 / sum;
                        log_sums.piece(token(r) * heads + head, 1)[0] = largest + sum.ln();
                    }
                    for panel in 0..d / COLUMNS {
                        let left = Left { numbers: &scores[row * width + columns.start..], row: width, step: 1 };
                        let right = &values[(panel * width + columns.start) * COLUMNS..];
                        let sums = tile::<ROWS>(left, columns.len(), right);
                        for r in row..rows.min(row + ROWS) {
                            let at = (token(r) * heads + head) * head_dim + panel * COLUMNS;
                            let out = out.piece(at, COLUMNS.min(head_dim - panel * COLUMNS));
                            for (out, sum) in out.iter_mut().zip(sums[r - row]) {
                                *out = E::from_f32(sum * factors[r - row]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Scores to `exp(score - max)` within `seen` and 0 outside: the maximum, and the sum. A NaN among them makes the sum NaN.
#[inline(always)]
fn to_weights(scores: &mut [f32], seen: &Range<usize>) -> (f32, f32) {
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    let mut largest = [f32::NEG_INFINITY; LANES];
    for piece in scores.chunks_exact(LANES) {
        for lane in 0..LANES {
            largest[lane] = if piece[lane] > largest[lane] { piece[lane] } else { largest[lane] };
        }
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0f32; LANES];
    for piece in scores.chunks_exact_mut(LANES) {
        for lane in 0..LANES {
            piece[lane] = exp(piece[lane] - largest);
            sums[lane] += piece[lane];
        }
    }
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    (largest, sum(sums))
}

/// What the backward pass of an item reads besides.
pub(super) struct Behind<'a, E> {
    /// What was attended to, `[T, H D]`.
    pub(super) attended: &'a [E],
    /// Its gradient, `[T, H D]`.
    pub(super) gradient: &'a [E],
    /// What [`forward`] wrote, `[T, H]`.
    pub(super) log_sums: &'a [f32],
}

vectorised! {
    /// Writes the gradient of the stretch's queries into `out` `[T, (H + 2 K) D]`, and that of all keys and values that it sees into
    /// `of_keys` and `of_values`, `[keys, D]` in whole panels of rows, zero before.
    pub(super) fn backward<E>(
        item: &Item<'_, E>,
        behind: &Behind<'_, E>,
        out: &Shared<'_, E>,
        of_keys: &mut [f32],
        of_values: &mut [f32],
    ) {
        let Heads { heads, key_value_heads, head_dim, scale, .. } = *item.heads;
        let d = item.heads.padded();
        let n = item.stretch.keys();
        let right = Right {
            keys_by_row: panelled(n, d, |j| item.key(j)),
            keys: transposed(n, d, |j| item.key(j)),
            values: transposed(n, d, |j| item.value(j)),
        };
        let width = whole_panels(n);
        let mut block = Block::new(d, width);
        for head in item.query_heads() {
            for first in item.blocks() {
                let (rows, whole) = item.rows(first);
                let token = |row: usize| item.stretch.tokens.start + first + row;
                load_rows(&mut block.query[..whole * d], rows, d, scale, |row| item.part(token(row), head));
                load_rows(&mut block.gradient[..whole * d], rows, d, 1.0, |row| {
                    &behind.gradient[(token(row) * heads + head) * head_dim..][..head_dim]
                });
                for row in (0..whole).step_by(ROWS) {
                    let columns = item.seen_by(first + row);
                    score(&block.query, d, row, &columns, &right.keys, &mut block.weights, width);
                    score(&block.gradient, d, row, &columns, &right.values, &mut block.by_scores, width);
                    for r in row..row + ROWS {
                        let weights = &mut block.weights[r * width..][..width];
                        let by_scores = &mut block.by_scores[r * width..][..width];
                        if r >= rows {
                            weights.fill(0.0);
                            by_scores.fill(0.0);
                            continue;
                        }
                        let at = token(r) * heads + head;
                        let attended = &behind.attended[at * head_dim..][..head_dim];
                        let inner = dot(&block.gradient[r * d..][..d], attended);
                        differentiate(weights, by_scores, &columns, &item.seen(first + r), behind.log_sums[at], inner);
                    }
                    for panel in 0..d / COLUMNS {
                        let left = Left { numbers: &block.by_scores[row * width + columns.start..], row: width, step: 1 };
                        let right = &right.keys_by_row[(panel * width + columns.start) * COLUMNS..];
                        let sums = tile::<ROWS>(left, columns.len(), right);
                        for r in row..rows.min(row + ROWS) {
                            let at = (token(r) * (heads + 2 * key_value_heads) + head) * head_dim + panel * COLUMNS;
                            let out = out.piece(at, COLUMNS.min(head_dim - panel * COLUMNS));
                            for (out, sum) in out.iter_mut().zip(sums[r - row]) {
                                *out = E::from_f32(sum * scale);
                            }
                        }
                    }
                }
                let begin = item.seen_by(first).start;
                let end = item.seen_by(first + whole - ROWS).end;
                let before = item.stretch.prompt.len() + first;
                block.add(d, whole, begin..end, before, of_keys, of_values);
            }
        }
    }
}

/// Right factors of an item's products.
struct Right {
    /// `[D / COLUMNS, n, COLUMNS]`.
    keys_by_row: Vec<f32>,
    /// `[n / COLUMNS, D, COLUMNS]`.
    keys: Vec<f32>,
    /// The same of the values.
    values: Vec<f32>,
}

/// Query rows that are looked at together.
struct Block {
    query: Vec<f32>,
    gradient: Vec<f32>,
    /// `[BLOCK, width]`.
    weights: Vec<f32>,
    /// Gradient by the scores, `[BLOCK, width]`.
    by_scores: Vec<f32>,
    width: usize,
    /// Queries and gradients as panels `[D / COLUMNS, BLOCK, COLUMNS]`.
    query_panels: Vec<f32>,
    gradient_panels: Vec<f32>,
}

impl Block {
    fn new(d: usize, width: usize) -> Block {
        let rows = || zeros(BLOCK * d);
        let scores = || zeros(BLOCK * width);
        Block {
            query: rows(),
            gradient: rows(),
            weights: scores(),
            by_scores: scores(),
            width,
            query_panels: rows(),
            gradient_panels: rows(),
        }
    }

    /// Adds the block's share of the gradients of keys and values `columns`. Row `r` sees none behind column `before + r`.
    #[inline(always)]
    fn add(
        &mut self,
        d: usize,
        rows: usize,
        columns: Range<usize>,
        before: usize,
        of_keys: &mut [f32],
        of_values: &mut [f32],
    ) {
        let to_panels = |from: &[f32], to: &mut [f32]| {
            for (row, numbers) in from.chunks_exact(d).take(rows).enumerate() {
                for (panel, numbers) in numbers.chunks_exact(COLUMNS).enumerate() {
                    to[(panel * BLOCK + row) * COLUMNS..][..COLUMNS].copy_from_slice(numbers);
                }
            }
        };
        to_panels(&self.query, &mut self.query_panels);
        to_panels(&self.gradient, &mut self.gradient_panels);
        for column in columns.step_by(ADDED_ROWS) {
            // Rows before do not see the column. Rows of one tile have zeros where only some of them do.
            let skipped = column.saturating_sub(before) / ROWS * ROWS;
            if skipped >= rows {
                break;
            }
            let pairs = [
                (&self.by_scores, &self.query_panels, &mut *of_keys),
                (&self.weights, &self.gradient_panels, &mut *of_values),
            ];
            for (scores, panels, to) in pairs {
                let left =
                    Left { numbers: &scores[skipped * self.width + column..], row: 1, step: self.width };
                for panel in 0..d / COLUMNS {
                    let right = &panels[(panel * BLOCK + skipped) * COLUMNS..];
                    let sums = tile::<ADDED_ROWS>(left, rows - skipped, right);
                    for (r, sums) in sums.iter().enumerate() {
                        let to = &mut to[(column + r) * d + panel * COLUMNS..][..COLUMNS];
                        for lane in 0..COLUMNS {
                            to[lane] += sums[lane];
                        }
                    }
                }
            }
        }
    }
}

/// Scores to weights, and gradients by weights to gradients by scores, within `seen`; 0 in the other columns.
#[inline(always)]
fn differentiate(
    weights: &mut [f32],
    by_scores: &mut [f32],
    columns: &Range<usize>,
    seen: &Range<usize>,
    log_sum: f32,
    inner: f32,
) {
    for piece in columns.clone().step_by(LANES) {
        let weights: &mut [f32; LANES] =
            (&mut weights[piece..piece + LANES]).try_into().expect("the slice has this length");
        let by_scores: &mut [f32; LANES] =
            (&mut by_scores[piece..piece + LANES]).try_into().expect("the slice has this length");
        for lane in 0..LANES {
            weights[lane] = exp(weights[lane] - log_sum);
            by_scores[lane] = weights[lane] * (by_scores[lane] - inner);
        }
    }
    for numbers in [weights, by_scores] {
        numbers[..seen.start].fill(0.0);
        numbers[seen.end..].fill(0.0);
    }
}

/// `x y`, as far as `y` goes.
#[inline(always)]
fn dot<E: Element>(x: &[f32], y: &[E]) -> f32 {
    let mut sums = [0f32; LANES];
    let whole = y.len() / LANES * LANES;
    for (x, y) in x[..whole].chunks_exact(LANES).zip(y[..whole].chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] = x[lane].mul_add(y[lane].to_f32(), sums[lane]);
        }
    }
    for (sum, (x, y)) in sums.iter_mut().zip(x[whole..].iter().zip(&y[whole..])) {
        *sum += x * y.to_f32();
    }
    sum(sums)
}
