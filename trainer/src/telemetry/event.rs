//! The three messages of TensorBoard's `event.proto` and `summary.proto` that a run writes and reads again, in protobuf's wire format.

/// What an event is about.
pub(super) enum What<'a> {
    /// The first record of a file: the version of the format.
    Version,
    /// A process starts at this step: points of this step and later, from files before this one, are void.
    Start,
    /// A number.
    Scalar {
        /// The name of its curve.
        tag: &'a str,
        /// The number.
        value: f32,
    },
    /// How many numbers are.
    Histogram {
        /// Its name.
        tag: &'a str,
        /// The numbers; at least one, all finite.
        values: &'a [f64],
    },
    /// Words, which TensorBoard reads as Markdown.
    Text {
        /// Their name.
        tag: &'a str,
        /// The words.
        text: &'a str,
    },
    /// What the run was told, for the page of hyperparameters.
    Parameters {
        /// Keys and values.
        values: &'a [(String, Parameter)],
    },
}

/// A hyperparameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// A number.
    Number(f64),
    /// Words.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

/// One `Event`; `wall_time` is in seconds since 1970.
pub(super) fn event(wall_time: f64, step: u64, what: What<'_>) -> Vec<u8> {
    let mut event = Vec::with_capacity(64);
    // Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; SessionLog session_log = 7 }
    event.push(key(1, EIGHT_BYTES));
    event.extend(wall_time.to_le_bytes());
    event.push(key(2, VARINT));
    varint(&mut event, step);
    match what {
        What::Version => bytes(&mut event, 3, b"brain.Event:2"),
        // SessionLog { SessionStatus status = 1 }, START = 1
        What::Start => bytes(&mut event, 7, &[key(1, VARINT), 1]),
        What::Scalar { tag, value } => {
            // Summary { repeated Value value = 1 }, Value { string tag = 1; float simple_value = 2 }
            let mut point = Vec::with_capacity(tag.len() + 8);
            bytes(&mut point, 1, tag.as_bytes());
            point.push(key(2, FOUR_BYTES));
            point.extend(value.to_le_bytes());
            summary(&mut event, &point);
        }
        What::Histogram { tag, values } => {
            // Value { HistogramProto histo = 5 }
            let mut value = tagged(tag);
            bytes(&mut value, 5, &histogram(values));
            summary(&mut event, &value);
        }
        What::Text { tag, text } => {
            // Value { TensorProto tensor = 8; SummaryMetadata metadata = 9 }
            // TensorProto { DataType dtype = 1; TensorShapeProto tensor_shape = 2; repeated bytes string_val = 8 }, DT_STRING = 7
            // TensorShapeProto { repeated Dim dim = 2 }, Dim { int64 size = 1 }
            let mut value = tagged(tag);
            let (mut tensor, mut shape) = (vec![key(1, VARINT), 7], Vec::new());
            bytes(&mut shape, 2, &[key(1, VARINT), 1]);
            bytes(&mut tensor, 2, &shape);
            bytes(&mut tensor, 8, text.as_bytes());
            bytes(&mut value, 8, &tensor);
            bytes(&mut value, 9, &metadata("text", &[]));
            summary(&mut event, &value);
        }
        What::Parameters { values } => {
            // Its tensor is empty: of DT_FLOAT = 1, with a dimension of size 0.
            let mut value = tagged("_hparams_/session_start_info");
            let (mut tensor, mut shape) = (vec![key(1, VARINT), 1], Vec::new());
            bytes(&mut shape, 2, &[]);
            bytes(&mut tensor, 2, &shape);
            bytes(&mut value, 8, &tensor);
            bytes(&mut value, 9, &metadata("hparams", &session_start(values)));
            summary(&mut event, &value);
        }
    }
    event
}

/// Summary { repeated Value value = 1 }
fn summary(event: &mut Vec<u8>, value: &[u8]) {
    let mut summary = Vec::with_capacity(value.len() + 4);
    bytes(&mut summary, 1, value);
    bytes(event, 5, &summary);
}

/// Value { string tag = 1 }
fn tagged(tag: &str) -> Vec<u8> {
    let mut value = Vec::new();
    bytes(&mut value, 1, tag.as_bytes());
    value
}

/// SummaryMetadata { PluginData plugin_data = 1; DataClass data_class = 4 }, DATA_CLASS_TENSOR = 2;
/// PluginData { string plugin_name = 1; bytes content = 2 }
fn metadata(plugin: &str, content: &[u8]) -> Vec<u8> {
    let (mut data, mut metadata) = (Vec::new(), Vec::new());
    bytes(&mut data, 1, plugin.as_bytes());
    if !content.is_empty() {
        bytes(&mut data, 2, content);
    }
    bytes(&mut metadata, 1, &data);
    metadata.extend([key(4, VARINT), 2]);
    metadata
}

/// HParamsPluginData { SessionStartInfo session_start_info = 3 }, SessionStartInfo { map<string, google.protobuf.Value> hparams = 1 };
/// google.protobuf.Value { double number_value = 2; string string_value = 3; bool bool_value = 4 }
fn session_start(values: &[(String, Parameter)]) -> Vec<u8> {
    let mut start = Vec::new();
    for (name, parameter) in values {
        let mut value = Vec::new();
        match parameter {
            Parameter::Number(number) => double(&mut value, 2, *number),
            Parameter::Text(text) => bytes(&mut value, 3, text.as_bytes()),
            Parameter::Flag(flag) => value.extend([key(4, VARINT), u8::from(*flag)]),
        }
        let mut entry = Vec::new();
        bytes(&mut entry, 1, name.as_bytes());
        bytes(&mut entry, 2, &value);
        bytes(&mut start, 1, &entry);
    }
    let mut data = Vec::new();
    bytes(&mut data, 3, &start);
    data
}

/// Buckets of a histogram.
const BUCKETS: usize = 30;

/// HistogramProto { double min = 1; max = 2; num = 3; sum = 4; sum_squares = 5; repeated double bucket_limit = 6; bucket = 7 }, the
/// buckets as wide as each other.
fn histogram(values: &[f64]) -> Vec<u8> {
    let (least, most) =
        values.iter().fold((f64::MAX, f64::MIN), |(l, m), value| (l.min(*value), m.max(*value)));
    let width = ((most - least) / BUCKETS as f64).max(f64::MIN_POSITIVE);
    let mut counts = [0.0; BUCKETS];
    for value in values {
        counts[(((value - least) / width) as usize).min(BUCKETS - 1)] += 1.0;
    }
    let mut message = Vec::new();
    double(&mut message, 1, least);
    double(&mut message, 2, most);
    double(&mut message, 3, values.len() as f64);
    double(&mut message, 4, values.iter().sum());
    double(&mut message, 5, values.iter().map(|value| value * value).sum());
    let limit =
        |bucket: usize| if bucket + 1 == BUCKETS { most } else { least + width * (bucket + 1) as f64 };
    let packed =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.flat_map(f64::to_le_bytes).collect::<Vec<u8>>();
    bytes(&mut message, 6, &packed(&mut (0..BUCKETS).map(limit)));
    bytes(&mut message, 7, &packed(&mut counts.into_iter()));
    message
}

fn double(to: &mut Vec<u8>, field: u8, value: f64) {
    to.push(key(field, EIGHT_BYTES));
    to.extend(value.to_le_bytes());
}

/// What a record says that a run wrote.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// The step that it is of.
    pub(super) step: u64,
    /// What it is about.
    pub(super) said: Said,
}

/// [`What`], read back.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// A process started.
    Start,
    /// A number.
    Scalar {
        /// The name of its curve.
        tag: String,
        /// The number.
        value: f32,
    },
    /// The version of the format, or what other programs write.
    Other,
}

/// The record that [`event`] wrote; `None` if these bytes are no message.
pub(super) fn parse(record: &[u8]) -> Option<Record> {
    let (mut step, mut said) = (0, Said::Other);
    for field in fields(record)? {
        match field {
            (2, Value::Number(number)) => step = number,
            (5, Value::Bytes(summary)) => {
                let [(1, Value::Bytes(point))] = fields(summary)?[..] else { continue };
                if let [(1, Value::Bytes(tag)), (2, Value::Four(value))] = fields(point)?[..] {
                    let tag = String::from_utf8(tag.to_owned()).ok()?;
                    said = Said::Scalar { tag, value: f32::from_le_bytes(value) };
                }
            }
            (7, Value::Bytes(log)) if fields(log)?.contains(&(1, Value::Number(1))) => said = Said::Start,
            _ => {}
        }
    }
    Some(Record { step, said })
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    Number(u64),
    Eight,
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

/// Numbers and values of a message's fields, in their order; `None` if it is torn.
fn fields(mut rest: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let key = read_varint(&mut rest)?;
        let value = match key as u8 & 7 {
            VARINT => Value::Number(read_varint(&mut rest)?),
            EIGHT_BYTES => rest.split_off(..8).map(|_| Value::Eight)?,
            LENGTH_AND_BYTES => {
                let length = usize::try_from(read_varint(&mut rest)?).ok()?;
                Value::Bytes(rest.split_off(..length)?)
            }
            FOUR_BYTES => Value::Four(rest.split_off(..4)?.try_into().ok()?),
            _ => return None,
        };
        found.push((key >> 3, value));
    }
    Some(found)
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

const VARINT: u8 = 0;
const EIGHT_BYTES: u8 = 1;
const LENGTH_AND_BYTES: u8 = 2;
const FOUR_BYTES: u8 = 5;

/// The byte before a field: its number, below 16, and how it is written.
fn key(field: u8, kind: u8) -> u8 {
    field << 3 | kind
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn bytes(to: &mut Vec<u8>, field: u8, value: &[u8]) {
    to.push(key(field, LENGTH_AND_BYTES));
    varint(to, value.len() as u64);
    to.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_torn_bytes_are_not() {
        let scalar = event(1.5, 301, What::Scalar { tag: "reward/mean", value: 0.75 });
        let said = Said::Scalar { tag: "reward/mean".to_owned(), value: 0.75 };
        assert_eq!(parse(&scalar), Some(Record { step: 301, said }));
        assert_eq!(parse(&event(1.5, 7, What::Start)), Some(Record { step: 7, said: Said::Start }));
        assert_eq!(parse(&event(1.5, 0, What::Version)), Some(Record { step: 0, said: Said::Other }));
        for end in [1, 5, 10, scalar.len() - 1] {
            assert_eq!(parse(&scalar[..end]), None, "{end}");
        }
    }

    // from tensorboard.compat.proto.event_pb2 import Event, SessionLog                     (tensorboard 2.21)
    // from tensorboard.compat.proto.summary_pb2 import Summary
    // v = Summary.Value(tag="reward/mean", simple_value=0.75)
    // for part in [dict(summary=Summary(value=[v])), dict(session_log=SessionLog(status=SessionLog.START)),
    //              dict(file_version="brain.Event:2")]:
    //     print(Event(wall_time=1.5, step=301, **part).SerializeToString().hex())
    #[test]
    fn bytes_are_those_of_tensorboard() {
        let hex = |what| event(1.5, 301, what).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(What::Scalar { tag: "reward/mean", value: 0.75 }),
            "09000000000000f83f10ad022a140a120a0b7265776172642f6d65616e150000403f"
        );
        assert_eq!(hex(What::Start), "09000000000000f83f10ad023a020801");
        assert_eq!(hex(What::Version), "09000000000000f83f10ad021a0d627261696e2e4576656e743a32");
    }
}
