//! The colours of tokens in a report are the advantages that an update was done with.

use std::io::Read;
use std::path::Path;

use rltrain::policy::Tokenizer;
use rltrain::record::read_record;
use rltrain::rollout::Completion;
use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Shades on each side of zero, as the page has them.
const SHADES: f64 = 50.0;

/// What the report of the run in `folder`/run holds.
fn reported(folder: &Path) -> Value {
    expect(folder, &["report", "run"], 0);
    let page = std::fs::read_to_string(folder.join("run/report.html")).unwrap();
    let data = page.split_once("type=\"application/gzip;base64\">").unwrap().1.split_once('<').unwrap().0;
    let zipped = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut text).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["programs"].take()
}

fn train(folder: &Path, more: &str) {
    tiny::make(folder);
    edit(folder, "steps = 4\n", "steps = 2\n");
    edit(folder, "[eval]\nevery = 2\n", "[eval]\nevery = 9\n");
    edit(folder, "[optimizer]\n", &format!("{more}[optimizer]\n"));
    expect(folder, &["recipe.toml"], 0);
}

/// The attempts of the page with what their record has: the completion and its advantages.
fn with_records(folder: &Path, programs: &Value) -> Vec<(Value, Completion, Vec<f64>)> {
    let mut found = Vec::new();
    for step in 1..=2 {
        let record = read_record(&folder.join("run"), step).unwrap();
        let columns = record.learnt.columns.unwrap();
        let mut advantages = columns.advantages.iter().map(|bits| f64::from(f32::from_bits(*bits)));
        let completions = record.attempts.groups.into_iter().flat_map(|group| group.completions);
        let shown = programs["attempts"].as_array().unwrap().iter().filter(|shown| shown["s"] == step);
        for (completion, shown) in completions.zip(shown) {
            let own = advantages.by_ref().take(completion.tokens.len()).collect();
            found.push((shown.clone(), completion, own));
        }
        assert_eq!(advantages.next(), None, "every attempt has a reward");
    }
    found
}

/// The shade of each UTF-16 unit of `text`, from whole prefixes of the tokens.
fn wanted(tokenizer: &Tokenizer, tokens: &[i64], shades: &[i64], text: &str) -> Vec<i64> {
    let mut all = Vec::new();
    let mut end = 0;
    for count in 1..=tokens.len() {
        let decoded = tokenizer.decode(&tokens[..count]).unwrap();
        let whole = decoded.trim_end_matches(char::REPLACEMENT_CHARACTER).len();
        let next = if count == tokens.len() { text.len() } else { whole.min(text.len()).max(end) };
        all.extend(text[end..next].encode_utf16().map(|_| shades[count - 1]));
        end = next;
    }
    all
}

#[test]
fn tokens_that_differ_are_coloured_one_by_one_turn_by_turn() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    train(
        here,
        "[algorithm]\nadvantage = \"optimal-token-baseline\"\n\n[episode]\nturns = 2\nstop_on_public_pass = false\n\n",
    );
    let programs = reported(here);
    let tokenizer = Tokenizer::load(&here.join("model")).unwrap();
    let (mut several, mut pieces) = (0, 0);
    for (shown, completion, advantages) in with_records(here, &programs) {
        let turns = shown["v"].as_array().unwrap();
        assert_eq!(turns.len(), completion.turns());
        several += usize::from(turns.len() > 1);
        let mut first = 0;
        for (place, turn) in turns.iter().enumerate() {
            let end = completion.interjections.get(place).map_or(completion.tokens.len(), |said| said.after);
            let text = completion.earlier.get(place).map_or(&completion.text, |turn| &turn.text);
            assert_eq!(&programs["texts"][turn["c"].as_u64().unwrap() as usize], text);
            let (tokens, own) = (&completion.tokens[first..end], &advantages[first..end]);
            first = end;
            let farthest = own.iter().fold(0.0f64, |most, one| most.max(one.abs()));
            let told = turn["m"].as_f64().unwrap();
            assert!((told.abs() - farthest).abs() <= 1e-5 * farthest, "{told} for {farthest}");
            let Some(shown) = turn.get("p") else {
                assert!(own.iter().all(|one| *one == own[0]), "{own:?}");
                continue;
            };
            let shades: Vec<i64> = own.iter().map(|one| (one / farthest * SHADES).round() as i64).collect();
            let mut painted = Vec::new();
            for piece in shown.as_array().unwrap() {
                let (length, shade) = (piece[0].as_u64().unwrap(), piece[1].as_i64().unwrap());
                painted.extend((0..length).map(|_| shade));
                pieces += 1;
            }
            assert_eq!(painted, wanted(&tokenizer, tokens, &shades, text), "{text:?}");
        }
    }
    assert!(several >= 2 && pieces > 20, "{several} attempts of two turns, {pieces} pieces");

    // Where tokens end is nowhere to be read: no colour is better than one in the wrong place.
    std::fs::rename(here.join("model"), here.join("elsewhere")).unwrap();
    std::fs::remove_dir_all(here.join("run/checkpoints")).unwrap();
    let bare = reported(here);
    let coloured = |programs: &Value| {
        let of = |shown: &&Value| {
            shown["v"].as_array().is_some_and(|turns| turns.iter().any(|turn| turn.get("p").is_some()))
        };
        programs["attempts"].as_array().unwrap().iter().filter(of).count()
    };
    assert!(coloured(&programs) > 3 && coloured(&bare) == 0);
    assert_eq!(bare["attempts"].as_array().unwrap().len(), programs["attempts"].as_array().unwrap().len());
}

#[test]
fn an_advantage_for_the_whole_attempt_needs_no_pieces_and_a_run_without_records_none() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    train(here, "");
    let programs = reported(here);
    let mut learnt = 0;
    for (shown, _, advantages) in with_records(here, &programs) {
        let turn = &shown["v"][0];
        assert!(turn.get("p").is_none() && turn["c"] == shown["c"], "{turn}");
        let told = turn["m"].as_f64().unwrap();
        assert!((told - advantages[0]).abs() <= 1e-5 * advantages[0].abs(), "{told} for {}", advantages[0]);
        learnt += usize::from(told != 0.0);
    }
    assert!(learnt > 5, "{learnt} attempts have an advantage");

    for step in 1..=2 {
        std::fs::remove_file(here.join(format!("run/samples/step-{step:08}.record.gz"))).unwrap();
    }
    let bare = reported(here);
    assert!(bare["attempts"].as_array().unwrap().iter().all(|shown| shown.get("v").is_none()));
}
