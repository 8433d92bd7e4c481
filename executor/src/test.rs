//! What a program is judged by.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::comparison::{TextComparison, ValueComparison};

/// One test. Written as a JSON string it is statements in the program's language; every other kind is an object with the key
/// `kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Statements that see the program's names, usually `assert f(1) == 2`. Passes if they run to their end.
    ///
    /// Where a test has the form `assert EXPRESSION == LITERAL`, the sandbox is given the expression alone and the host
    /// compares; the literal never enters the sandbox.
    Statements(String),
    /// `"kind": "call"`: a function is called and the host looks at what it returned.
    Call(CallTest),
    /// `"kind": "stdin"`: the program is run as a script and the host looks at what it printed.
    Stdin(StdinTest),
    /// `"kind": "suite"`: test functions as unittest and pytest find them.
    Suite(SuiteTest),
    /// `"kind": "property"`: something that holds for every generated input.
    Property(PropertyTest),
    /// `"kind": "differential"`: fails for one program, passes for the one that is judged.
    Differential(DifferentialTest),
}

/// Calls a function. Neither the expected value nor the comparison enters the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallTest {
    /// What is called: `double`, or any expression that gives a function, such as `Solution().twoSum`.
    pub function: String,
    /// Arguments by position. Integers beyond 64 bits have to be written as a statement instead.
    #[serde(default)]
    pub arguments: Vec<Json>,
    /// Arguments by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub keywords: Map<String, Json>,
    /// What it is to return. A JSON array stands for a list as well as for a tuple.
    pub expected: Json,
    /// When the returned value counts as the expected one.
    #[serde(default)]
    pub compare: ValueComparison,
}

/// Runs the program from its beginning as a script, `__name__ == "__main__"`, in an interpreter of its own. Passes if it ends
/// normally (its end, or exit code 0) and has printed what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdinTest {
    /// What it can read.
    pub stdin: String,
    /// What it is to print.
    pub stdout: String,
    /// When the printed text counts as the expected one.
    #[serde(default)]
    pub compare: TextComparison,
}

/// Test functions (`test_…` at the top level) and test classes (`unittest.TestCase`, or named `Test…`), which may import the
/// program's names from the module `solution`. They are judged inside the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuiteTest {
    /// Source of the test module.
    pub source: String,
    /// The one function that is run, such as `test_add` or `TestMath.test_add`. Absent: all of them, and all must pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Calls a function with generated arguments and checks each result. Generator and check run in an interpreter that the program
/// never enters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PropertyTest {
    /// What is called, as in [`CallTest::function`].
    pub function: String,
    /// Source that defines `inputs(random)`, which returns one tuple of arguments drawn with the given `random.Random`.
    pub inputs: String,
    /// Source that defines `holds(result, *arguments)`: whether the result is right.
    pub holds: String,
    /// How many inputs are tried, 1 to 10 000. Default 100.
    #[serde(default)]
    pub cases: Cases,
    /// Seed of the generator: the same for every program. Default 0.
    #[serde(default)]
    pub seed: u64,
}

/// Passes if `test` passes for the program and does not pass for another one, such as the code before a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DifferentialTest {
    /// The other program.
    pub before: String,
    /// The test that tells the two apart.
    pub test: Box<Test>,
}

/// Number of inputs that a property is tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
pub struct Cases(#[schemars(range(min = 1, max = 10_000))] u32);

impl Cases {
    /// Most inputs of one property.
    pub const MOST: u32 = 10_000;

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Cases {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u32> for Cases {
    type Error = String;

    fn try_from(found: u32) -> Result<Self, String> {
        if (1..=Self::MOST).contains(&found) {
            Ok(Self(found))
        } else {
            Err(format!("cases is {found}, wanted a whole number from 1 to {}", Self::MOST))
        }
    }
}

impl From<Cases> for u32 {
    fn from(cases: Cases) -> u32 {
        cases.0
    }
}

impl From<String> for Test {
    fn from(statements: String) -> Self {
        Self::Statements(statements)
    }
}

impl From<&str> for Test {
    fn from(statements: &str) -> Self {
        Self::Statements(statements.to_owned())
    }
}

impl Test {
    /// One line that tells the test from its siblings, for people.
    pub fn title(&self) -> Cow<'_, str> {
        match self {
            Self::Statements(source) => first_line(source).into(),
            Self::Call(test) => {
                let arguments: Vec<String> = test.arguments.iter().map(Json::to_string).collect();
                format!("{}({})", test.function, arguments.join(", ")).into()
            }
            Self::Stdin(test) => format!("stdin {:?}", first_line(&test.stdin)).into(),
            Self::Suite(test) => test.name.as_deref().unwrap_or("suite").into(),
            Self::Property(test) => {
                format!("property of {}, {} cases", test.function, test.cases.get()).into()
            }
            Self::Differential(test) => format!("differential: {}", test.test.title()).into(),
        }
    }
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

/// The kinds that are written as objects.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Kind<'a> {
    Call(Cow<'a, CallTest>),
    Stdin(Cow<'a, StdinTest>),
    Suite(Cow<'a, SuiteTest>),
    Property(Cow<'a, PropertyTest>),
    Differential(Cow<'a, DifferentialTest>),
}

impl JsonSchema for Test {
    fn schema_name() -> Cow<'static, str> {
        "Test".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "One test: statements in the program's language, or an object with the key `kind`.",
            "anyOf": [{ "type": "string" }, Kind::json_schema(generator)],
        })
    }
}

impl Serialize for Test {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Self::Statements(source) => return serializer.serialize_str(source),
            Self::Call(test) => Kind::Call(Cow::Borrowed(test)),
            Self::Stdin(test) => Kind::Stdin(Cow::Borrowed(test)),
            Self::Suite(test) => Kind::Suite(Cow::Borrowed(test)),
            Self::Property(test) => Kind::Property(Cow::Borrowed(test)),
            Self::Differential(test) => Kind::Differential(Cow::Borrowed(test)),
        };
        kind.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Test {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not an untagged enum: its message would not say which key of which kind is wrong.
        let written = match Json::deserialize(deserializer)? {
            Json::String(source) => return Ok(Self::Statements(source)),
            written => Kind::deserialize(written).map_err(serde::de::Error::custom)?,
        };
        Ok(match written {
            Kind::Call(test) => Self::Call(test.into_owned()),
            Kind::Stdin(test) => Self::Stdin(test.into_owned()),
            Kind::Suite(test) => Self::Suite(test.into_owned()),
            Kind::Property(test) => Self::Property(test.into_owned()),
            Kind::Differential(test) => Self::Differential(test.into_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Test, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_is_written_as_it_is_read() {
        for text in [
            r#""assert f(1) == 2""#,
            r#"{"kind":"call","function":"f","arguments":[1],"expected":[2.5,null],"compare":"unordered"}"#,
            r#"{"kind":"call","function":"f","arguments":[],"keywords":{"n":1},"expected":1,"compare":{"close":{"relative":1e-6,"absolute":0.0}}}"#,
            r#"{"kind":"stdin","stdin":"3\n","stdout":"6\n","compare":"lines"}"#,
            r#"{"kind":"suite","source":"def test_f(): pass","name":"test_f"}"#,
            r#"{"kind":"property","function":"f","inputs":"a","holds":"b","cases":7,"seed":1}"#,
            r#"{"kind":"differential","before":"def f(): pass","test":"assert f()"}"#,
        ] {
            let test = read(text).unwrap();
            assert_eq!(serde_json::to_string(&test).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_test_is_refused_with_what_was_wanted() {
        let message = |text| read(text).unwrap_err();
        assert!(
            message(r#"{"kind":"cal"}"#).contains("unknown variant `cal`, expected one of `call`, `stdin`")
        );
        assert!(message(r#"{"kind":"call","function":"f"}"#).contains("missing field `expected`"));
        assert!(message(r#"{"kind":"stdin","stdin":"","stdout":"","x":1}"#).contains("unknown field `x`"));
        assert!(message(r#"{"function":"f"}"#).contains("missing field `kind`"));
        assert!(
            message(r#"{"kind":"property","function":"f","inputs":"","holds":"","cases":0}"#)
                .contains("cases is 0, wanted a whole number from 1 to 10000")
        );
        assert!(message("7").contains("invalid type"), "{}", message("7"));
    }
}
