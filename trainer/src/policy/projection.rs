//! Matrices: how a family stores them, and how they are multiplied with.

use tch::{Kind, Tensor};

use super::adapter::Adapter;
use super::architecture::Shapes;
use super::dropout::TokenDropout;
use super::gradient::gradient_of;
use super::weights::Weights;

/// One product `x W^T + b` whose matrix is stored as one module or several, stacked by rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Projection {
    /// The modules, in the order of their rows.
    pub(super) modules: Vec<Module>,
    /// Width of the input.
    pub(super) columns: i64,
    /// Whether the folder holds `W^T`, `[in, out]`, as GPT-2's `Conv1D` does.
    pub(super) transposed: bool,
    /// Order of the stacked rows.
    pub(super) order: RowOrder,
    /// Pairs of rows that turn together, where they lie beside each other instead of half a head apart.
    pub(super) neighbours: Option<Neighbours>,
}

/// A linear module as transformers names it: `NAME.weight` and perhaps `NAME.bias`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) rows: i64,
    pub(super) bias: bool,
}

/// How the rows of query, key and value lie in a stored matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RowOrder {
    /// All queries, all keys, all values: the order that is computed in.
    Whole,
    /// Head by head, each with its query, key and value rows: `[heads, 3, D]`.
    HeadByHead {
        /// Number of heads.
        heads: i64,
    },
    /// In blocks, one for each of the processors that CodeGen was trained on, each with its queries, values and keys.
    CodeGen {
        /// Number of blocks.
        blocks: i64,
    },
}

/// Rotary positions of GPT-J: pairs `(2i, 2i + 1)` turn. With the rows of queries and keys reordered, these are the pairs
/// `(i, i + width / 2)` that every other family turns, and since keys and queries are reordered alike, their products
/// stay what they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Neighbours {
    /// Query and key heads together.
    pub(super) heads: i64,
    /// Width of a head.
    pub(super) head_dim: i64,
    /// Dimensions of a head that turn.
    pub(super) width: i64,
}

impl Projection {
    /// Modules `PREFIX.NAME` with rows, stacked in the order given.
    pub(super) fn stacked(prefix: &str, modules: &[(&str, i64)], columns: i64, bias: bool) -> Projection {
        let module =
            |(name, rows): &(&str, i64)| Module { name: format!("{prefix}.{name}"), rows: *rows, bias };
        Projection {
            modules: modules.iter().map(module).collect(),
            columns,
            transposed: false,
            order: RowOrder::Whole,
            neighbours: None,
        }
    }

    /// A single module `PREFIX.NAME`.
    pub(super) fn single(prefix: &str, name: &str, rows: i64, columns: i64, bias: bool) -> Projection {
        Projection::stacked(prefix, &[(name, rows)], columns, bias)
    }

    /// Gives every module a bias, or none.
    pub(super) fn set_bias(&mut self, bias: bool) {
        for module in &mut self.modules {
            module.bias = bias;
        }
    }

    pub(super) fn shapes(&self, shapes: &mut Shapes) {
        for Module { name, rows, bias } in &self.modules {
            let shape = if self.transposed { [self.columns, *rows] } else { [*rows, self.columns] };
            shapes.add(&format!("{name}.weight"), &shape);
            if *bias {
                shapes.add(&format!("{name}.bias"), &[*rows]);
            }
        }
    }

    pub(super) fn load(&self, weights: &Weights, kind: Kind) -> LoadedProjection {
        let parts = self.modules.iter().map(|module| {
            let stored = weights.get(&format!("{}.weight", module.name));
            if self.transposed { stored.tr() } else { stored.shallow_clone() }
        });
        let weight_oi = self.in_order(stack(parts.collect()));
        let bias_o = self.modules.iter().any(|module| module.bias).then(|| {
            let parts = self.modules.iter().map(|module| match module.bias {
                true => weights.get(&format!("{}.bias", module.name)).shallow_clone(),
                false => Tensor::zeros([module.rows], (Kind::Float, weight_oi.device())),
            });
            self.in_order(stack(parts.collect()).unsqueeze(1)).squeeze_dim(1).to_kind(kind)
        });
        let adapter = weights.adapter().and_then(|adapter| self.low_rank(adapter));
        let masters = self.masters(weights);
        match adapter {
            // Without a gradient one product does. In bf16 a change below half a bit of the weight would be lost in the sum.
            Some(LowRank { down_ri, up_or, .. }) if kind == Kind::Float && !up_or.requires_grad() => {
                let weight_oi = weight_oi + up_or.matmul(&down_ri);
                LoadedProjection { weight_oi, bias_o, adapter: None, masters }
            }
            adapter => LoadedProjection {
                weight_oi: weight_oi.to_kind(kind),
                bias_o,
                adapter: adapter.map(|adapter| adapter.to_kind(kind)),
                masters,
            },
        }
    }

    /// The weights whose rows, one module's after the other, are those of the product; none where they lie otherwise.
    fn masters(&self, weights: &Weights) -> Option<Vec<Master>> {
        let named = |name: String| weights.get(&name).shallow_clone();
        let master = |module: &Module| Master {
            weight_oi: named(format!("{}.weight", module.name)),
            bias_o: module.bias.then(|| named(format!("{}.bias", module.name))),
        };
        self.is_in_order().then(|| self.modules.iter().map(master).collect())
    }

    /// Whether the rows of the product are those of the modules, one after the other.
    pub(super) fn is_in_order(&self) -> bool {
        self.order == RowOrder::Whole && self.neighbours.is_none() && !self.transposed
    }

    /// The adapters of all modules as one: factors `A` under each other, and factors `B`, times the scale, beside each other
    /// in the rows of their module.
    fn low_rank(&self, adapter: &Adapter) -> Option<LowRank> {
        let adapted = || self.modules.iter().filter_map(|module| adapter.factors.get(&module.name));
        let ranks: i64 = adapted().map(|factors| factors.down.size()[0]).sum();
        if ranks == 0 {
            return None;
        }
        let down_ri = stack(adapted().map(|factors| factors.down.shallow_clone()).collect());
        let zeros = |rows, columns| Tensor::zeros([rows, columns], (Kind::Float, down_ri.device()));
        let mut before = 0;
        let rows = self.modules.iter().map(|module| {
            let Some(factors) = adapter.factors.get(&module.name) else { return zeros(module.rows, ranks) };
            let rank = factors.up.size()[1];
            let left = zeros(module.rows, before);
            before += rank;
            Tensor::cat(&[&left, &factors.up, &zeros(module.rows, ranks - before)], 1)
        });
        let up_or = self.in_order(stack(rows.collect())) * adapter.config.scale();
        Some(LowRank { down_ri, up_or })
    }

    /// Stored rows in the order that is computed in. Views and copies alone, no gathering by index: the backward pass
    /// needs to remember nothing, so that it can run once for every pack.
    fn in_order(&self, rows: Tensor) -> Tensor {
        let columns = rows.size()[1];
        let ordered = match self.order {
            RowOrder::Whole => rows,
            RowOrder::HeadByHead { heads } => {
                rows.view([heads, 3, -1, columns]).transpose(0, 1).reshape([-1, columns])
            }
            RowOrder::CodeGen { blocks } => {
                let parts = rows.view([blocks, 3, -1, columns]);
                // Queries, keys, values.
                let parts = [0, 2, 1].map(|part| parts.select(1, part).reshape([-1, columns]));
                Tensor::cat(&parts, 0)
            }
        };
        let Some(Neighbours { heads, head_dim, width }) = self.neighbours else { return ordered };
        let turned = ordered.narrow(0, 0, heads * head_dim).view([heads, head_dim, columns]);
        let pairs = turned.narrow(1, 0, width).reshape([heads, width / 2, 2, columns]);
        let halves = pairs.transpose(1, 2).reshape([heads, width, columns]);
        let heads_in_order = Tensor::cat(&[halves, turned.narrow(1, width, head_dim - width)], 1);
        let rest = ordered.narrow(0, heads * head_dim, ordered.size()[0] - heads * head_dim);
        Tensor::cat(&[heads_in_order.reshape([-1, columns]), rest], 0)
    }
}

/// Tensors under each other; a single one as it is.
fn stack(mut parts: Vec<Tensor>) -> Tensor {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }
}

/// A projection with its weights in the compute dtype.
pub(super) struct LoadedProjection {
    weight_oi: Tensor,
    bias_o: Option<Tensor>,
    adapter: Option<LowRank>,
    masters: Option<Vec<Master>>,
}

/// The f32 weights of a module.
struct Master {
    weight_oi: Tensor,
    bias_o: Option<Tensor>,
}

/// A change of the matrix: `up down`.
struct LowRank {
    down_ri: Tensor,
    up_or: Tensor,
}

impl LowRank {
    fn to_kind(&self, kind: Kind) -> LowRank {
        LowRank { down_ri: self.down_ri.to_kind(kind), up_or: self.up_or.to_kind(kind) }
    }
}

impl LoadedProjection {
    /// `x W^T + b` over the last dimension, and what an adapter adds to it. `place` tells apart the projections of a network
    /// where the adapter's input loses a part to `dropout`.
    pub(super) fn apply(&self, x: &Tensor, dropout: Option<&TokenDropout>, place: u64) -> Tensor {
        let product = x.linear(&self.weight_oi, self.bias_o.as_ref());
        let Some(LowRank { down_ri, up_or }) = &self.adapter else { return product };
        let input = dropout.map_or_else(|| x.shallow_clone(), |dropout| dropout.apply(x, place));
        product + input.linear::<&Tensor>(down_ri, None).linear::<&Tensor>(up_or, None)
    }

    /// Whether [`LoadedProjection::product`] and the functions behind it are all there is to it.
    pub(super) fn is_plain(&self) -> bool {
        self.adapter.is_none() && self.masters.is_some()
    }

    /// `x W^T + b` for rows `[T, I]`. Not part of a gradient graph.
    pub(super) fn product(&self, x_ti: &Tensor) -> Tensor {
        x_ti.linear(&self.weight_oi, self.bias_o.as_ref())
    }

    /// The gradient by `x` of [`LoadedProjection::product`], given that by what it gave.
    pub(super) fn input_gradient(&self, by_out_to: &Tensor) -> Tensor {
        by_out_to.mm(&self.weight_oi)
    }

    /// Adds to the gradients of the weights, given what [`LoadedProjection::product`] read and the gradient by what it gave. Sums
    /// are f32 in every compute dtype from one call to the next.
    pub(super) fn add_gradients(&self, x_ti: &Tensor, by_out_to: &Tensor) {
        let mut first = 0;
        for Master { weight_oi, bias_o } in self.masters.iter().flatten() {
            let rows = weight_oi.size()[0];
            let by_out_to = by_out_to.narrow(1, first, rows);
            first += rows;
            if weight_oi.requires_grad() {
                let mut gradient = gradient_of(weight_oi);
                if by_out_to.kind() == Kind::Float {
                    let _ = gradient.addmm_(&by_out_to.tr(), x_ti);
                } else {
                    let _ = gradient.g_add_(&by_out_to.tr().mm(x_ti));
                }
            }
            if let Some(bias_o) = bias_o.as_ref().filter(|bias_o| bias_o.requires_grad()) {
                let dimension: &[i64] = &[0];
                let _ = gradient_of(bias_o).g_add_(&by_out_to.sum_dim_intlist(dimension, false, Kind::Float));
            }
        }
    }
}
