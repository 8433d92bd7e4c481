//! Keys and values of sequences in progress, preallocated.

use tch::{Device, Kind, Tensor};

use super::architecture::Sizes;

/// Keys and values `[rows, K, L, D]` of every layer. Rows in use are always the first ones.
pub struct KvCache {
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    row_index: Tensor,
    capacity: i64,
}

impl KvCache {
    /// A cache for `rows` sequences of at most `columns` tokens.
    ///
    /// Takes `2 * layers * rows * K * columns * D` elements of `kind`.
    pub fn new(sizes: &Sizes, rows: i64, columns: i64, kind: Kind, device: Device) -> KvCache {
        let shape = [rows, sizes.key_value_heads, columns, sizes.head_dim];
        let empty = || (0..sizes.layers).map(|_| Tensor::zeros(shape, (kind, device))).collect();
        KvCache {
            keys: empty(),
            values: empty(),
            row_index: Tensor::arange(rows, (Kind::Int64, device)),
            capacity: columns,
        }
    }

    /// Longest sequence a row can hold, in tokens.
    pub fn capacity(&self) -> i64 {
        self.capacity
    }

    /// Writes one prompt's keys and values `[1, K, P, D]` into rows `row..row + count`, from column 0.
    pub fn store_prompt(&mut self, layer: usize, row: i64, count: i64, key: &Tensor, value: &Tensor) {
        let length = key.size()[2];
        for (store, new) in [(&self.keys[layer], key), (&self.values[layer], value)] {
            store.narrow(0, row, count).narrow(2, 0, length).copy_(&new.expand([count, -1, -1, -1], false));
        }
    }

    /// Writes one token's keys and values `[rows, K, 1, D]` at each row's position `[rows]`.
    pub fn store_token(
        &mut self,
        layer: usize,
        rows: i64,
        position_b: &Tensor,
        key: &Tensor,
        value: &Tensor,
    ) {
        let row_b = self.row_index.narrow(0, 0, rows);
        for (store, new) in [(&mut self.keys[layer], key), (&mut self.values[layer], value)] {
            let _ = store.index_put_(&[Some(&row_b), None, Some(position_b)], &new.squeeze_dim(2), false);
        }
    }

    /// Keys and values of the first `rows` rows and `columns` columns.
    pub fn view(&self, layer: usize, rows: i64, columns: i64) -> (Tensor, Tensor) {
        let cut = |store: &Tensor| store.narrow(0, 0, rows).narrow(2, 0, columns);
        (cut(&self.keys[layer]), cut(&self.values[layer]))
    }

    /// Copies the first `length` columns of row `from` over row `to`.
    pub fn move_row(&mut self, from: i64, to: i64, length: i64) {
        for store in self.keys.iter().chain(&self.values) {
            let source = store.narrow(0, from, 1).narrow(2, 0, length);
            store.narrow(0, to, 1).narrow(2, 0, length).copy_(&source);
        }
    }
}
