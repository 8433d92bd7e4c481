//! Rotary positions (Su et al. 2021, arXiv:2104.09864) and the ways to stretch them over longer texts.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};

use super::config_json::{CONFIG, ConfigJson};
use super::error::PolicyError;
use super::row_kernels;
use super::training_kernels::{self, Direction};

/// How the first `width` dimensions of queries and keys turn with the position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rotary {
    /// Dimensions that turn; even, at most the head's width. The others stay as they are.
    pub(super) width: i64,
    /// Base of the frequencies.
    pub(super) base: f64,
    /// How the frequencies are stretched.
    pub(super) scaling: RotaryScaling,
}

/// Changes to the frequencies `base^(-2i / width)` of a model that reads longer texts than it was made for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RotaryScaling {
    /// As they are.
    None,
    /// All divided by a factor (Chen et al. 2023, arXiv:2306.15595).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Long waves divided, short ones kept, those between interpolated: Llama 3.1 (Grattafiori et al. 2024,
    /// arXiv:2407.21783).
    Llama3 {
        /// The divisor of long waves.
        factor: f64,
        /// Waves longer than `original / low` are long.
        low: f64,
        /// Waves shorter than `original / high` are short.
        high: f64,
        /// Longest text of pretraining, in tokens.
        original: f64,
    },
    /// YaRN (Peng et al. 2023, arXiv:2309.00071).
    Yarn(Yarn),
}

/// The numbers of YaRN.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Yarn {
    factor: f64,
    /// Turns within the original length at which a frequency is kept, and at which it is divided.
    beta_fast: f64,
    beta_slow: f64,
    original: f64,
    /// Factor of sine and cosine.
    attention: f64,
    /// Whether the borders are rounded to whole dimensions.
    truncate: bool,
}

impl Rotary {
    /// Reads `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (before) for heads that turn whole.
    pub(super) fn from_json(
        json: ConfigJson<'_>,
        head_dim: i64,
        default_base: f64,
    ) -> Result<Rotary, PolicyError> {
        let base = json.number_or("rope_theta", default_base)?;
        let table = RotaryTable::of(json);
        let rotary = table.rotary(json, head_dim, base)?;
        match table.share(1.0)? {
            1.0 => Ok(rotary),
            _ => Err(table.json.expect("only a table has a share").unsupported("partial_rotary_factor")),
        }
    }

    /// Refuses what cannot be turned.
    pub(super) fn checked(self) -> Result<Rotary, PolicyError> {
        let refused = |key: &str, found: String| {
            Err(PolicyError::Unsupported { file: CONFIG, key: key.to_owned(), found })
        };
        if self.width < 2 || self.width % 2 != 0 {
            return refused("rotary dimensions of a head", self.width.to_string());
        }
        if self.base <= 0.0 {
            return refused("rope_theta", self.base.to_string());
        }
        Ok(self)
    }

    /// Frequencies in radians per token, `[width / 2]` f32 on the host, and the factor of sine and cosine.
    ///
    /// In f32 and in transformers' order of operations: at position 10 000 the last bit of a frequency is 0.0006 radians.
    fn frequencies(&self) -> (Tensor, f64) {
        let exponent = Tensor::arange_start_step(0, self.width, 2, (Kind::Int64, Device::Cpu))
            .to_kind(Kind::Float)
            / self.width as f64;
        let power = Tensor::pow_scalar(self.base, &exponent);
        let plain = power.reciprocal();
        match &self.scaling {
            RotaryScaling::None => (plain, 1.0),
            RotaryScaling::Linear { factor } => (plain / *factor, 1.0),
            RotaryScaling::Llama3 { factor, low, high, original } => {
                let wavelength = plain.reciprocal() * (2.0 * PI);
                let smooth = (wavelength.reciprocal() * *original - *low) / (*high - *low);
                let between = (1.0 - &smooth) * &plain / *factor + &smooth * &plain;
                let long = wavelength.gt(original / low);
                let short = wavelength.lt(original / high);
                let divided = (&plain / *factor).where_self(&long, &plain);
                (divided.where_self(&long.logical_or(&short), &between), 1.0)
            }
            RotaryScaling::Yarn(yarn) => {
                let ramp = yarn.ramp(self.width, self.base);
                let divided = (power * yarn.factor).reciprocal();
                (divided * &ramp + plain * (1.0 - ramp), yarn.attention)
            }
        }
    }

    pub(super) fn load(&self, device: Device) -> LoadedRotary {
        let (frequency_h, factor) = self.frequencies();
        LoadedRotary { frequency_h: frequency_h.to_device(device), factor }
    }
}

/// The part of a configuration that describes rotary positions, with its name.
pub(super) struct RotaryTable<'a> {
    name: &'static str,
    json: Option<ConfigJson<'a>>,
}

impl<'a> RotaryTable<'a> {
    /// `rope_scaling` if there is one, as in transformers, else `rope_parameters`.
    pub(super) fn of(json: ConfigJson<'a>) -> RotaryTable<'a> {
        match json.table("rope_scaling") {
            Some(table) => RotaryTable { name: "rope_scaling", json: Some(table) },
            None => RotaryTable { name: "rope_parameters", json: json.table("rope_parameters") },
        }
    }

    /// A table inside this one.
    pub(super) fn inner(&self, key: &str) -> RotaryTable<'a> {
        RotaryTable { name: self.name, json: self.json.and_then(|json| json.table(key)) }
    }

    /// The share of a head's dimensions that turn.
    pub(super) fn share(&self, default: f64) -> Result<f64, PolicyError> {
        self.json.map_or(Ok(default), |json| json.number_or("partial_rotary_factor", default))
    }

    /// Rotary positions of `width` dimensions; `base` holds where the table names none.
    pub(super) fn rotary(
        &self,
        config: ConfigJson<'_>,
        width: i64,
        base: f64,
    ) -> Result<Rotary, PolicyError> {
        let Some(table) = self.json else {
            return Rotary { width, base, scaling: RotaryScaling::None }.checked();
        };
        let within = |error: PolicyError| error.within(self.name);
        let max_positions = config.count_or("max_position_embeddings", 2048)? as f64;
        let scaling = RotaryScaling::from_json(table, max_positions).map_err(within)?;
        let base = table.number_or("rope_theta", base).map_err(within)?;
        Rotary { width, base, scaling }.checked()
    }
}

impl RotaryScaling {
    fn from_json(table: ConfigJson<'_>, max_positions: f64) -> Result<RotaryScaling, PolicyError> {
        // Tables by kind of layer, which only families that say so have.
        table.refuse_any(&["full_attention", "sliding_attention"])?;
        let key = if table.value("rope_type").is_some() { "rope_type" } else { "type" };
        match table.text_or(key, "default")? {
            "default" => Ok(RotaryScaling::None),
            "linear" => Ok(RotaryScaling::Linear { factor: table.number("factor")? }),
            "llama3" => Ok(RotaryScaling::Llama3 {
                factor: table.number("factor")?,
                low: table.number("low_freq_factor")?,
                high: table.number("high_freq_factor")?,
                original: table.number_or("original_max_position_embeddings", max_positions)?,
            }),
            "yarn" => Ok(RotaryScaling::Yarn(Yarn::from_json(table, max_positions)?)),
            _ => Err(table.unsupported(key)),
        }
    }
}

impl Yarn {
    fn from_json(table: ConfigJson<'_>, max_positions: f64) -> Result<Yarn, PolicyError> {
        let original = table.number_or("original_max_position_embeddings", max_positions)?;
        let factor = table.number_or("factor", max_positions / original)?;
        // Equation 22 of the paper, and DeepSeek's generalisation of it.
        let magnitude = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        let positive = |key| Ok::<_, PolicyError>(table.number_if_any(key)?.filter(|n| *n != 0.0));
        let attention = match (
            table.number_if_any("attention_factor")?,
            positive("mscale")?,
            positive("mscale_all_dim")?,
        ) {
            (Some(attention), ..) => attention,
            (None, Some(some), Some(all)) => magnitude(some) / magnitude(all),
            _ => magnitude(1.0),
        };
        Ok(Yarn {
            factor,
            beta_fast: positive("beta_fast")?.unwrap_or(32.0),
            beta_slow: positive("beta_slow")?.unwrap_or(1.0),
            original,
            attention,
            truncate: table.flag_or("truncate", true)?,
        })
    }

    /// 0 where a frequency is kept, 1 where it is divided, `[width / 2]` f32.
    fn ramp(&self, width: i64, base: f64) -> Tensor {
        let border =
            |turns: f64| width as f64 * (self.original / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
        let (mut low, mut high) = (border(self.beta_fast), border(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(width as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        let dimension = Tensor::arange(width / 2, (Kind::Float, Device::Cpu));
        ((dimension - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// Frequencies on the device.
pub(super) struct LoadedRotary {
    frequency_h: Tensor,
    factor: f64,
}

/// Cosine and sine of every token's angles, `[B, 1, T, width]` in the compute dtype: one rotation serves all heads.
pub(super) struct Angles {
    cos_b1td: Tensor,
    sin_b1td: Tensor,
}

impl LoadedRotary {
    /// Angles at `positions_bt` (i64), computed in f32.
    pub(super) fn angles(&self, positions_bt: &Tensor, kind: Kind) -> Angles {
        let angle_bth = positions_bt.to_kind(Kind::Float).unsqueeze(-1) * &self.frequency_h;
        let angle_b1td = Tensor::cat(&[&angle_bth, &angle_bth], -1).unsqueeze(1);
        let scaled = |x: Tensor| if self.factor == 1.0 { x } else { x * self.factor };
        Angles {
            cos_b1td: scaled(angle_b1td.cos()).to_kind(kind),
            sin_b1td: scaled(angle_b1td.sin()).to_kind(kind),
        }
    }
}

impl Angles {
    /// As [`Angles::rotate`], for rows of a decode step, `[B, H, 1, D]`.
    pub(super) fn rotate_by_row(&self, x_bh1d: &Tensor) -> Tensor {
        row_kernels::rotate(x_bh1d, &self.cos_b1td, &self.sin_b1td)
    }

    /// As [`Angles::rotate`], in place, for the first `heads` heads of rows `[T, ..]` of one sequence.
    pub(super) fn rotate_rows(&self, x: &mut Tensor, heads: (usize, usize), direction: Direction) {
        let rows = |x_b1td: &Tensor| x_b1td.flatten(0, 2);
        let (cos_td, sin_td) = (rows(&self.cos_b1td), rows(&self.sin_b1td));
        training_kernels::rotate(x, heads, (&cos_td, &sin_td), direction);
    }

    /// Turns pairs `(i, i + width / 2)` of the first `width` dimensions of `x` `[B, H, T, D]` by their angle.
    pub(super) fn rotate(&self, x_bhtd: &Tensor) -> Tensor {
        let (width, whole) = (self.cos_b1td.size()[3], x_bhtd.size()[3]);
        let turning = if width == whole { x_bhtd.shallow_clone() } else { x_bhtd.narrow(3, 0, width) };
        let half = width / 2;
        let (low, high) = (turning.narrow(3, 0, half), turning.narrow(3, half, half));
        let turned = &turning * &self.cos_b1td + Tensor::cat(&[-high, low], -1) * &self.sin_b1td;
        if width == whole {
            return turned;
        }
        Tensor::cat(&[turned, x_bhtd.narrow(3, width, whole - width)], 3)
    }
}
