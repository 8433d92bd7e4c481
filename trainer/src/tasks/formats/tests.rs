use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use rltrain_executor::Test;
use rltrain_rewards::Language;
use serde_json::json;
use tempfile::TempDir;

use super::super::shown;
use super::*;

/// A folder with a file of this content.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs_err::write(&path, content).unwrap();
    (folder, path)
}

fn converted(
    content: impl AsRef<[u8]>,
    options: ConvertOptions,
) -> Result<(Vec<Task>, Converted), ConvertError> {
    let (_folder, path) = file("rows.jsonl", content);
    let mut tasks = Vec::new();
    let done = convert(&path, options, |task| {
        tasks.push(task.clone());
        Ok(())
    })?;
    Ok((tasks, done))
}

#[track_caller]
fn one(row: &Json, format: Format) -> Task {
    let (mut tasks, done) = converted(row.to_string(), ConvertOptions::default()).unwrap();
    assert_eq!((tasks.len(), done.format), (1, format.name()), "{:?}", done.left_out);
    tasks.pop().unwrap()
}

fn left_out(row: &Json) -> String {
    match converted(row.to_string(), ConvertOptions::default()) {
        Err(error @ ConvertError::Nothing { .. }) => error.to_string(),
        other => panic!("found {other:?}, wanted a row that is left out"),
    }
}

fn problems(content: &str) -> Vec<String> {
    match converted(content, ConvertOptions::default()) {
        Err(ConvertError::Invalid(invalid)) => invalid.problems.iter().map(ToString::to_string).collect(),
        other => panic!("found {other:?}, wanted problems"),
    }
}

fn texts<'a>(tests: impl IntoIterator<Item = &'a Test>) -> Vec<String> {
    tests.into_iter().map(shown).collect()
}

fn human_eval() -> Json {
    json!({
        "task_id": "HumanEval/900", "entry_point": "double",
        "prompt": "from typing import List\n\n\ndef double(n: int) -> int:\n    \"\"\" Twice n.\n    >>> double(1)\n    2\n    \"\"\"\n",
        "canonical_solution": "    return 2 * n\n",
        "test": "\n\nMETADATA = {\n    'author': 'jt'\n}\n\n\ndef check(candidate):\n    assert candidate(3) == 6\n    assert candidate(0) == 0\n",
    })
}

#[test]
fn a_prompt_of_human_eval_is_the_signature_and_its_docstring_the_words() {
    let task = one(&human_eval(), Format::HumanEval);
    assert_eq!(task.prompt, "Twice n.\n>>> double(1)\n2");
    assert!(
        task.signature.starts_with("from typing") && task.signature.ends_with("    \"\"\""),
        "{}",
        task.signature
    );
    assert_eq!(task.reference, format!("{}\n    return 2 * n\n", task.signature));
    assert_eq!(texts(&task.public_tests), ["assert double(1) == 2"]);
    assert_eq!(texts(&task.hidden_tests), ["assert double(3) == 6", "assert double(0) == 0"]);
}

#[test]
fn human_eval_plus_has_its_inputs_tried_against_the_reference() {
    let mut row = human_eval();
    row["base_input"] = json!([[1], [2]]);
    row["plus_input"] = json!([[-1]]);
    row["atol"] = json!(0);
    let task = one(&row, Format::HumanEval);
    let [Test::Property(base), Test::Property(plus)] = &task.hidden_tests[..] else {
        panic!("{:?}", task.hidden_tests)
    };
    assert_eq!((base.cases.get(), plus.cases.get(), &*base.function), (2, 1, "double"));
    assert!(base.inputs.starts_with("_all = iter([[1], [2]])"), "{}", base.inputs);
    assert!(base.holds.contains("    return 2 * n\n"));

    let row = json!({ "task_id": "Mbpp/900", "prompt": "\"\"\"\nDouble n.\nassert double(1) == 2\n\"\"\"\n", "entry_point": "double",
        "canonical_solution": "\ndef double(n):\n    return 2 * n\n", "base_input": [[1]], "plus_input": [[5]], "atol": 0 });
    let task = one(&row, Format::HumanEval);
    assert_eq!((&*task.id, &*task.signature, task.hidden_tests.len()), ("Mbpp/900", "", 2));
    assert_eq!(task.prompt, "Double n.\nassert double(1) == 2");
}

#[test]
fn mbpp_is_read_in_its_three_forms() {
    let full = json!({ "task_id": 900, "text": "Write a function to double n.", "code": "import math\r\ndef helper(n):\r\n  return n\r\ndef double(n, by=2):\r\n  return helper(n) * by",
        "test_list": ["assert double(1) == 2", "assert double(2) == 4"], "test_setup_code": "x = 1", "challenge_test_list": ["assert double(0) == 0"] });
    let task = one(&full, Format::Mbpp);
    assert_eq!((&*task.id, &*task.entry_point, &*task.signature), ("MBPP/900", "double", ""));
    assert_eq!(task.prompt, "Write a function to double n. The program defines `double(n, by=2)`.");
    assert_eq!(task.hidden_tests.len(), 3);
    assert_eq!(texts([&task.hidden_tests[0]]), ["x = 1\nassert double(1) == 2"]);

    let sanitised = json!({ "task_id": 901, "prompt": "Double n.", "code": "def double(n): return 2 * n", "source_file": "x", "test_imports": [], "test_list": ["assert double(1) == 2"] });
    assert_eq!(texts(&one(&sanitised, Format::Mbpp).hidden_tests), ["assert double(1) == 2"]);

    let mut stripped = sanitised.clone();
    stripped["test_list"] = json!(["assert math.isclose(double(1), 2)"]);
    let task = one(&stripped, Format::Mbpp);
    assert_eq!(texts(&task.hidden_tests), ["import math\nassert math.isclose(double(1), 2)"]);

    let mut plus = sanitised;
    plus["test"] = json!("import numpy\nassert double(1) == 2\nassert double(5) == 10\n");
    assert_eq!(one(&plus, Format::Mbpp).hidden_tests.len(), 1);
}

#[test]
fn the_first_tests_can_become_public_and_one_stays_hidden() {
    let row = json!({ "task_id": 1, "text": "Double n.", "code": "def double(n): return 2 * n", "test_list": ["assert double(1) == 2", "assert double(2) == 4"] });
    let count = |public| {
        let (tasks, _) = converted(row.to_string(), ConvertOptions { from: None, public }).unwrap();
        (tasks[0].public_tests.len(), tasks[0].hidden_tests.len())
    };
    assert_eq!((count(0), count(1), count(9)), ((0, 2), (1, 1), (1, 1)));
}

#[test]
fn apps_has_scripts_and_functions() {
    let script = json!({ "problem_id": 7, "question": "Add.\n", "solutions": "[\"print(sum(map(int, input().split())))\"]", "starter_code": "",
        "input_output": "{\"inputs\": [\"1 2\\n\", [\"3 4\", \"\"]], \"outputs\": [\"3\\n\", [\"7\"]]}" });
    let task = one(&script, Format::Apps);
    assert_eq!((&*task.id, &*task.entry_point, &*task.signature, &*task.prompt), ("APPS/7", "", "", "Add."));
    assert_eq!(task.reference, "print(sum(map(int, input().split())))\n");
    assert_eq!(texts(&task.hidden_tests), ["Input:\n1 2\nOutput:\n3", "Input:\n3 4\nOutput:\n7"]);

    let function = json!({ "problem_id": 8, "question": "Add.", "solutions": "[\"class Solution:\\n    def add(self, a: List[int]) -> int:\\n        return sum(a)\"]",
        "starter_code": "class Solution:\n    def add(self, a: List[int]) -> int:\n        ",
        "input_output": { "fn_name": "add", "inputs": [[[1, 2]], [[3]]], "outputs": [[3], [3]] } });
    let task = one(&function, Format::Apps);
    assert_eq!(task.entry_point, "Solution().add");
    assert_eq!(
        texts(&task.hidden_tests),
        ["assert Solution().add([1, 2]) == 3", "assert Solution().add([3]) == 3"]
    );
    assert!(task.reference.starts_with(&task.signature) && task.signature.contains("from typing import"));

    assert!(
        left_out(&json!({ "problem_id": 9, "question": "Q", "input_output": "" }))
            .contains("`APPS/9` has no test")
    );
}

#[test]
fn code_contests_has_three_sets_of_tests() {
    let row = json!({ "name": "1_A", "description": "Echo.", "public_tests": { "input": ["1"], "output": ["1"] }, "private_tests": { "input": ["2"], "output": ["2"] },
        "generated_tests": [{ "input": "3", "output": "3" }], "solutions": { "language": [2, 3], "solution": ["int main() {}", "print(input())"] } });
    let task = one(&row, Format::CodeContests);
    assert_eq!(
        (task.public_tests.len(), task.hidden_tests.len(), &*task.reference),
        (1, 2, "print(input())\n")
    );
    let mut alone = row;
    alone["private_tests"] = json!({ "input": [], "output": [] });
    alone["generated_tests"] = json!(null);
    let task = one(&alone, Format::CodeContests);
    assert_eq!((task.public_tests.len(), task.hidden_tests.len()), (0, 1));
}

#[test]
fn live_code_bench_is_read_but_for_its_pickles() {
    let row = json!({ "question_id": "abc", "question_content": "Add.", "starter_code": "class Solution:\n    def add(self, a: List[int], b: int) -> int:\n        ",
        "metadata": "{\"func_name\": \"add\"}", "public_test_cases": "[{\"input\": \"[1, 2]\\n3\", \"output\": \"6\", \"testtype\": \"functional\"}]",
        "private_test_cases": "[{\"input\": \"[]\\n0\", \"output\": \"0\", \"testtype\": \"functional\"}]" });
    let task = one(&row, Format::LiveCodeBench);
    assert_eq!(
        texts(task.all_tests()),
        ["assert Solution().add([1, 2], 3) == 6", "assert Solution().add([], 0) == 0"]
    );
    assert!(task.signature.ends_with("def add(self, a: List[int], b: int) -> int:"));
    let mut packed = row.clone();
    packed["private_test_cases"] = json!("eJxrYJk6hQEAAAD//w==");
    assert!(left_out(&packed).contains("are a pickle, which is a program and is not read"));
    let script = json!({ "question_id": "s", "question_content": "Echo.", "public_test_cases": "[{\"input\": \"1\", \"output\": \"1\", \"testtype\": \"stdin\"}]", "private_test_cases": "" });
    let task = one(&script, Format::LiveCodeBench);
    assert_eq!(
        (task.public_tests.len(), texts(&task.hidden_tests)),
        (0, vec!["Input:\n1\nOutput:\n1".to_owned()])
    );
}

#[test]
fn of_many_languages_those_are_read_whose_tests_can_be_run() {
    let row = |language: &str| {
        json!({ "name": "HumanEval_900_double", "language": language, "prompt": "//Twice n.\nfunction double(n){\n", "stop_tokens": ["\nfunction "],
            "tests": "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = double;\n  assert.deepEqual(candidate(1),2);\n  assert.deepEqual(candidate(\"a;\"),[]);\n}\n\ntest();" })
    };
    let task = one(&row("js"), Format::MultiplE);
    assert_eq!(
        (task.language, &*task.signature, &*task.prompt),
        (Language::JavaScript, "//Twice n.\nfunction double(n){", "Twice n.")
    );
    assert_eq!(
        texts(&task.hidden_tests),
        ["assert.deepEqual(double(1),2)", "assert.deepEqual(double(\"a;\"),[])"]
    );
    assert!(left_out(&row("rs")).contains("only stdin tests are run in that language"));
    assert!(left_out(&row("lua")).contains("nothing runs `lua`"));

    let mbxp = json!({ "task_id": "MBJSP/900", "language": "javascript", "prompt": "/**\n * Twice n.\n */\nfunction double(n) {\n", "entry_point": "double",
        "description": "Twice n.", "canonical_solution": "  return 2 * n;\n}", "test": "var _ = require(\"lodash\")\n\nlet actual_1 = double(1);\nassert(_.isEqual(actual_1, 2), \"found\");" });
    let task = one(&mbxp, Format::Mbxp);
    assert_eq!(task.reference, format!("{}\n  return 2 * n;\n}}\n", task.signature));
    let source = &texts(&task.hidden_tests)[0];
    assert!(source.starts_with("const _ = {") && !source.contains("lodash"), "{source}");
}

#[test]
fn examples_of_case2code_that_the_prompt_shows_are_public() {
    let row = json!({ "id": "b14e_0", "func_name": "turned", "code": "def turned(num, by=1):\n    return num % 10 * by\n", "exec_status": true,
        "example_str": "examples = [\n    dict(num=12),  # a comment\n    dict(num=[1]),\n    dict(num='x'),\n]\nexamples += [dict(num=7), dict(num=8), dict(num=None)]",
        "example_inputs": ["\"{'num': 12}\"", "\"{'num': 35, 'by': \\\"it's\\\"}\"", "\"{'num': 'x'}\""],
        "example_outputs": [{ "return": "\"2\"" }, { "return": "\"\\\"it'sit's\\\"\"" }, { "error": "<|EXCEPTION|> \"<class 'TypeError'>: no\"" },
            { "return": "\"7\"" }, { "return": "\"<object at 0x1>\"" }, { "return": "\"None\"" }],
        "choosed_example_idx": [0, 2], "prompt": "Function: turned\n\nWrite a function.\n\n", "output": "x" });
    let task = one(&row, Format::Case2Code);
    assert_eq!(
        (&*task.entry_point, &*task.signature, &*task.prompt),
        ("turned", "", "Function: turned\n\nWrite a function.")
    );
    assert_eq!(texts(&task.public_tests), ["assert turned(num=12) == 2"]);
    let hidden = texts(&task.hidden_tests);
    assert_eq!(hidden[0], "assert turned(num=35, by=\"it's\") == \"it'sit's\"");
    let (source, last) = hidden[1].rsplit_once('\n').unwrap();
    assert_eq!(source, row["example_str"]);
    assert_eq!(last, "assert [turned(**examples[place]) for place in [3, 5]] == [7, None]");
    assert_eq!(hidden.len(), 2);
}

#[test]
fn function_calls_are_a_program_that_returns_them() {
    let row = json!({ "id": 7, "query": "Is it raining in Bonn and in Ulm?",
        "answers": "[{\"name\": \"rain\", \"arguments\": {\"city\": \"Bonn\", \"now\": true}}, {\"name\": \"rain\", \"arguments\": {\"city\": \"Ulm\", \"now\": true}}]",
        "tools": "[{\"name\": \"rain\", \"description\": \"Whether it rains.\", \"parameters\": {\"city\": {\"type\": \"str\"}, \"now\": {\"type\": \"bool\"}}}]" });
    let task = one(&row, Format::Xlam);
    assert_eq!((&*task.id, &*task.signature), ("xLAM/7", "def calls():"));
    assert!(
        task.prompt.contains("Is it raining")
            && task.prompt.contains("\"description\":\"Whether it rains.\"")
    );
    assert_eq!(
        task.reference,
        "def calls():\n    return [{'name': 'rain', 'arguments': {'city': 'Bonn', 'now': True}}, {'name': 'rain', 'arguments': {'city': 'Ulm', 'now': True}}]\n"
    );
    let [Test::Call(test)] = &task.hidden_tests[..] else { panic!("{:?}", task.hidden_tests) };
    assert_eq!(
        (&test.compare, &test.expected[1]["arguments"]["city"]),
        (&rltrain_executor::ValueComparison::Unordered, &json!("Ulm"))
    );
    assert_eq!(task.expected.unwrap().calls.unwrap()[0].name, "rain");
    let broken = json!({ "id": 7, "query": "?", "answers": "[{\"function\": \"rain\"}]", "tools": "[]" });
    assert!(
        problems(&broken.to_string())[0].contains("wanted a list of objects with `name` and `arguments`")
    );
}

#[test]
fn leetcode_and_big_code_bench_go_on_from_what_is_begun() {
    let row = json!({ "task_id": "two-sum", "starter_code": "class Solution:\n    def twoSum(self, nums: List[int]) -> int:\n        ", "entry_point": "Solution().twoSum",
        "prompt": "from typing import *\n", "completion": "class Solution:\n    def twoSum(self, nums: List[int]) -> int:\n        return sum(nums)\n", "problem_description": "Add.",
        "test": "def check(candidate):\n    assert candidate(nums = [1, 2]) == 3\n" });
    let task = one(&row, Format::LeetCode);
    assert!(task.signature.starts_with("from typing import *") && task.signature.ends_with("-> int:"));
    assert_eq!(texts(&task.hidden_tests), ["assert Solution().twoSum(nums = [1, 2]) == 3"]);

    let row = json!({ "task_id": "BigCodeBench/0", "complete_prompt": "def task_func(n):\n    \"\"\"Twice.\"\"\"\n", "instruct_prompt": "Write it.", "canonical_solution": "    return 2 * n",
        "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_1(self):\n        self.assertEqual(task_func(1), 2)", "entry_point": "task_func" });
    let task = one(&row, Format::BigCodeBench);
    assert_eq!(task.prompt, "Write it.");
    assert!(
        matches!(&task.hidden_tests[..], [Test::Suite(suite)] if suite.source.starts_with("from solution import *\n"))
    );
}

#[test]
fn a_ground_truth_can_be_written_in_four_ways() {
    let row = |truth: Json| json!({ "prompt": [{ "role": "system", "content": "S" }, { "role": "user", "content": "Add." }], "extra_info": { "index": 5 }, "reward_model": { "style": "rule", "ground_truth": truth } });
    let task = |truth| one(&row(truth), Format::Verl);
    let script = task(json!("{\"inputs\": [\"1\"], \"outputs\": [\"1\"]}"));
    assert_eq!((&*script.id, &*script.prompt, &*script.entry_point), ("verl/5", "Add.", ""));
    let asserts = task(json!("[\"assert add(1) == 1\"]"));
    assert_eq!(
        (&*asserts.entry_point, texts(&asserts.hidden_tests)),
        ("add", vec!["assert add(1) == 1".to_owned()])
    );
    let cases = task(
        json!([{ "input": "1", "output": "1", "testtype": "functional", "metadata": { "func_name": "add" } }]),
    );
    assert_eq!(
        (&*cases.entry_point, texts(&cases.hidden_tests)),
        ("add", vec!["assert add(1) == 1".to_owned()])
    );
    let suite = task(json!("from solution import add\n\ndef test_add():\n    assert add(1) == 1\n"));
    assert!(matches!(&suite.hidden_tests[..], [Test::Suite(_)]) && suite.entry_point == "add");
    assert!(problems(&row(json!(7)).to_string())[0].contains("says nothing of tests"));
}

#[test]
fn every_line_that_is_no_row_is_named_with_what_was_found_and_wanted() {
    let good = human_eval().to_string();
    let lines = [
        good.as_str(),
        "[1]",
        "{",
        "",
        &good.replace("\"double\"", "7"),
        &good,
        r#"{"task_id": "HumanEval/1", "prompt": "x"}"#,
    ];
    let found = problems(&lines.join("\n"));
    assert_eq!(
        found,
        [
            "line 2: found a list, wanted a JSON object",
            "line 3: not JSON: EOF while parsing an object at line 1 column 1",
            "line 5: `entry_point`: found a number, wanted a text",
            "line 6: the id `HumanEval/900` is also in line 1",
            "line 7: `entry_point`: found no such key, wanted a text",
        ]
    );
}

#[test]
fn files_that_are_no_lines_of_json_come_with_the_way_out() {
    let refused = |content: &[u8]| {
        let error = converted(content, ConvertOptions::default()).unwrap_err();
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string()).unwrap_or_default();
        format!("{error} {help} {}", error.command().unwrap_or_default())
    };
    assert!(refused(b"PAR1....").contains("p.ParquetFile(sys.argv[1])"));
    assert!(refused(b"PK\x03\x04").contains("zipfile -e"));
    assert!(refused(b"\x80\x04\x95").contains("a pickle is a program, and not run"));
    assert!(refused(b"[{}]").contains("json.load(open("));
    assert!(refused(b"{\"a\": 1}").contains("has the keys `a`"));
    assert!(refused(b"{\"hidden_tests\": []}").contains("this is a task file already"));
    assert!(refused(b"\n\n").contains("has no row that can be a task here"));
    assert!(matches!(converted(b"\xff\xfe", ConvertOptions::default()), Err(ConvertError::Read { .. })));
}

#[test]
fn a_compressed_file_is_read_and_a_damaged_one_refused_at_its_line() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let row = human_eval().to_string();
    writeln!(encoder, "{row}").unwrap();
    let whole = encoder.finish().unwrap();
    assert_eq!(converted(&whole, ConvertOptions::default()).unwrap().0.len(), 1);
    let error = converted(&whole[..whole.len() / 2], ConvertOptions::default()).unwrap_err();
    assert!(
        matches!(&error, ConvertError::Read { source, .. } if source.to_string().starts_with("line 1: ")),
        "{error:?}"
    );
}

#[test]
fn every_format_can_be_told_from_the_others_by_its_keys() {
    for format in Format::ALL {
        let row: Map<String, Json> =
            format.marks().iter().map(|key| ((*key).to_owned(), json!(""))).collect();
        assert_eq!(Format::guess(&row), Some(format));
    }
    assert_eq!(Format::guess(&Map::new()), None);
}
