//! JavaScript values as QuickJS passes them to C: 64 bits, of which the upper half says what they are.

/// A value inside the sandbox: a number by itself, or the address of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw(pub(super) i64);

/// What a value is, as far as its bits tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Undefined,
    Null,
    Boolean(bool),
    Number(f64),
    BigInt,
    Text,
    Symbol,
    Object,
    /// Not a value: something was thrown.
    Exception,
    /// Nothing that a program could hold.
    Internal,
}

/// The upper halves, from `quickjs.h`.
mod tag {
    pub(super) const FIRST: i32 = -9;
    pub(super) const BIG_INT: i32 = -9;
    pub(super) const SYMBOL: i32 = -8;
    pub(super) const STRING: i32 = -7;
    pub(super) const ROPE: i32 = -6;
    pub(super) const OBJECT: i32 = -1;
    pub(super) const INT: i32 = 0;
    pub(super) const BOOL: i32 = 1;
    pub(super) const NULL: i32 = 2;
    pub(super) const UNDEFINED: i32 = 3;
    pub(super) const EXCEPTION: i32 = 6;
    pub(super) const SHORT_BIG_INT: i32 = 7;
    /// From here on the bits are a floating point number, moved out of the way of the other tags.
    pub(super) const FIRST_FLOAT: i32 = 8;
}

/// What is added to the upper half of a floating point number's bits to get the number back.
const FLOAT_OFFSET: i64 = (0x7ff8_0000 - tag::FIRST as i64 + 1) << 32;

impl Raw {
    pub(super) const UNDEFINED: Self = Self((tag::UNDEFINED as i64) << 32);

    /// What the value is.
    pub(super) fn kind(self) -> Kind {
        let (tag, payload) = ((self.0 >> 32) as i32, self.0 as i32);
        match tag {
            tag::BIG_INT | tag::SHORT_BIG_INT => Kind::BigInt,
            tag::SYMBOL => Kind::Symbol,
            tag::STRING | tag::ROPE => Kind::Text,
            tag::OBJECT => Kind::Object,
            tag::INT => Kind::Number(payload.into()),
            tag::BOOL => Kind::Boolean(payload != 0),
            tag::NULL => Kind::Null,
            tag::UNDEFINED => Kind::Undefined,
            tag::EXCEPTION => Kind::Exception,
            tag if !(tag::FIRST..tag::FIRST_FLOAT).contains(&tag) => {
                Kind::Number(f64::from_bits(self.0.wrapping_add(FLOAT_OFFSET).cast_unsigned()))
            }
            _ => Kind::Internal,
        }
    }

    pub(super) fn is_exception(self) -> bool {
        self.kind() == Kind::Exception
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_told_apart_as_the_engine_does() {
        for (upper, lower, kind) in [
            (0, -1, Kind::Number(-1.0)),
            (1, 1, Kind::Boolean(true)),
            (2, 0, Kind::Null),
            (6, 0, Kind::Exception),
            (-7, 1 << 20, Kind::Text),
            (-1, 1 << 20, Kind::Object),
            (7, 10, Kind::BigInt),
            (-3, 0, Kind::Internal),
            (524_278, 0, Kind::Number(-0.0)),
            (2_146_959_350, 0, Kind::Number(f64::NEG_INFINITY)),
            (-1_073_741_834, 0, Kind::Number(1.5)),
        ] {
            let raw = Raw((upper << 32) | (lower & 0xffff_ffff));
            assert_eq!(raw.kind(), kind, "{upper} {lower}");
        }
        assert!(matches!(Raw(-10 << 32).kind(), Kind::Number(number) if number.is_nan()));
        assert_eq!(Raw::UNDEFINED.kind(), Kind::Undefined);
    }
}
