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
            let mut summary = Vec::with_capacity(point.len() + 4);
            bytes(&mut summary, 1, &point);
            bytes(&mut event, 5, &summary);
        }
    }
    event
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
