//! Keys and values of sequences in progress, preallocated.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::architecture::Sizes;

/// Keys and values of every layer, `[rows, L, K, D]` each: what one token adds to a row is one stretch of memory, and
/// attention reads the heads of a row without a copy. Rows in use are always the first ones.
pub struct KvCache {
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    rows: i64,
    capacity: i64,
}

/// Keys and values of a stretch of tokens.
#[derive(Debug, Default)]
pub struct KeysAndValues {
    /// Keys and values `[K, T, D]` of each layer.
    pub layers: Vec<(Tensor, Tensor)>,
}

impl KeysAndValues {
    /// How many tokens the stretch has.
    pub fn length(&self) -> i64 {
        self.layers.first().map_or(0, |(key_ktd, _)| key_ktd.size()[1])
    }

    /// The same of what `part` makes of each tensor.
    pub fn of_each(&self, part: impl Fn(&Tensor) -> Tensor) -> KeysAndValues {
        KeysAndValues { layers: self.layers.iter().map(|(key, value)| (part(key), part(value))).collect() }
    }
}

impl KvCache {
    /// A cache for `rows` sequences of at most `columns` tokens, which takes `rows * columns` times
    /// [`KvCache::bytes_per_token`].
    pub fn new(sizes: &Sizes, rows: i64, columns: i64, kind: Kind, device: Device) -> KvCache {
        let shape = [rows, columns, sizes.key_value_heads, sizes.head_dim];
        let empty = || (0..sizes.layers).map(|_| Tensor::zeros(shape, (kind, device))).collect();
        KvCache { keys: empty(), values: empty(), rows, capacity: columns }
    }

    /// Bytes of one token's keys and values in all layers.
    pub fn bytes_per_token(sizes: &Sizes, kind: Kind) -> usize {
        2 * (sizes.layers * sizes.key_value_heads * sizes.head_dim) as usize * kind.elt_size_in_bytes()
    }

    /// Its dtype.
    pub(super) fn kind(&self) -> Kind {
        self.keys.first().map_or(Kind::Float, Tensor::kind)
    }

    /// Where it is.
    pub(super) fn device(&self) -> Device {
        self.keys.first().map_or(Device::Cpu, Tensor::device)
    }

    /// Width of a head.
    pub(super) fn head_dim(&self) -> i64 {
        self.keys.first().map_or(0, |keys| keys.size()[3])
    }

    /// Keys and values `[rows, L, K, D]` of a layer.
    pub(super) fn of_layer(&mut self, layer: usize) -> (&mut Tensor, &mut Tensor) {
        (&mut self.keys[layer], &mut self.values[layer])
    }

    /// Longest sequence a row can hold, in tokens.
    pub fn capacity(&self) -> i64 {
        self.capacity
    }

    /// Writes what one prompt, or a stretch of it, has into rows `row..row + count`, from column `column`.
    pub fn store_prompt(&mut self, row: i64, count: i64, column: i64, stretch: &KeysAndValues) {
        let stores = self.keys.iter().zip(&self.values);
        for ((keys, values), (key_kpd, value_kpd)) in stores.zip(&stretch.layers) {
            for (store, new_kpd) in [(keys, key_kpd), (values, value_kpd)] {
                let new_pkd = new_kpd.transpose(0, 1);
                let mut rows = store.narrow(0, row, count).narrow(1, column, new_pkd.size()[0]);
                rows.copy_(&new_pkd.expand([count, -1, -1, -1], false));
            }
        }
    }

    /// What a row has in `columns`, in memory of its own.
    pub fn read(&self, row: usize, columns: Range<usize>) -> KeysAndValues {
        let cut = |store: &Tensor| {
            let columns_tkd =
                store.select(0, row as i64).narrow(0, columns.start as i64, columns.len() as i64);
            columns_tkd.copy().transpose(0, 1)
        };
        let layers = self.keys.iter().zip(&self.values);
        KeysAndValues { layers: layers.map(|(keys, values)| (cut(keys), cut(values))).collect() }
    }

    /// Writes one token's keys and values `[B, K, 1, D]` into the slots `[B]` i64: row times capacity plus column.
    pub fn store_token(&mut self, layer: usize, slot_b: &Tensor, key: &Tensor, value: &Tensor) {
        for (store, new) in [(&self.keys[layer], key), (&self.values[layer], value)] {
            let (_, _, k, d) = store.size4().expect("a cache has four dimensions by contract");
            let _ = store.view([self.rows * self.capacity, k, d]).index_copy_(0, slot_b, &new.squeeze_dim(2));
        }
    }

    /// Keys and values `[rows, K, columns, D]` of the first `rows` rows and `columns` columns.
    pub fn view(&self, layer: usize, rows: i64, columns: i64) -> (Tensor, Tensor) {
        let cut = |store: &Tensor| store.narrow(0, 0, rows).narrow(1, 0, columns).transpose(1, 2);
        (cut(&self.keys[layer]), cut(&self.values[layer]))
    }

    /// Copies the first `length` columns of row `from` over row `to`.
    pub fn move_row(&mut self, from: i64, to: i64, length: i64) {
        for store in self.keys.iter().chain(&self.values) {
            let source = store.narrow(0, from, 1).narrow(1, 0, length);
            store.narrow(0, to, 1).narrow(1, 0, length).copy_(&source);
        }
    }
}
