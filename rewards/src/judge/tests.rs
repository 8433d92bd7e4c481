use rltrain_executor::{Outcome, Verdict};

use super::*;
use crate::plugin::tests_support::Server;
use crate::tests::{task, verdict};

/// A language model, scripted: it rates a program by the number in it, `x = 7`, and does `body` before.
fn model(body: &str) -> Server {
    Server::start(&format!(
        "shown = said['messages'][1]['content']
rating = shown.split('x = ')[1].split()[0] if 'x = ' in shown else 'none'
def reply(text, tokens=10): send(200, {{'choices': [{{'message': {{'role': 'assistant', 'content': text}}}}], 'usage': {{'total_tokens': tokens}}}})
{body}
reply('I have seen it %d times.\\nScore: %s' % (count, rating))"
    ))
}

fn config(server: &Server) -> JudgeConfig {
    JudgeConfig {
        url: server.url(),
        model: "small".to_owned(),
        rubric: "Is `x` large?".to_owned(),
        timeout_ms: 5000,
        retries: 1,
        concurrency: 1,
        ..JudgeConfig::default()
    }
}

fn score(judge: &Judge, programs: &[&str]) -> Vec<PlugInScore> {
    let (task, verdict): (_, Verdict) = (task(), verdict(vec![Outcome::Passed]));
    let attempts: Vec<_> =
        programs.iter().map(|program| Attempt::new(&task, "", program, &verdict)).collect();
    judge.score(&attempts)
}

/// The scores, all of which must be there.
fn scores(config: &JudgeConfig, programs: &[&str]) -> Vec<Option<f64>> {
    score(&Judge::new(config).unwrap(), programs).into_iter().map(Result::unwrap).collect()
}

#[test]
fn programs_are_rated_by_the_rubric_and_score_from_0_to_1() {
    let server = model("");
    assert_eq!(scores(&config(&server), &["x = 1", "x = 10", "x = 5.5"]), [Some(0.0), Some(1.0), Some(0.5)]);
}

#[test]
fn the_model_is_asked_as_the_recipe_says() {
    let server = model(
        "system, user = said['messages']
how = (said['model'], said['temperature'], said['max_tokens'], said['seed'], system['role'], user['role'])
if how != ('small', 0.5, 99, 7, 'system', 'user'): return send(400, repr(how))
if 'Is `x` large?' not in system['content']: return send(400, system['content'])
if user['content'] != 'task: x = 10': return send(400, user['content'])",
    );
    let config = JudgeConfig {
        temperature: 0.5,
        max_tokens: 99,
        seed: 7,
        shows: "{{ task.id }}: {{ program }}".to_owned(),
        ..config(&server)
    };
    assert_eq!(scores(&config, &["x = 10"]), [Some(1.0)]);
}

#[test]
fn the_same_question_is_asked_once_even_by_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = model("if count > 2: return send(400, 'asked before')");
    let config = JudgeConfig { folder: folder.path().to_owned(), ..config(&server) };
    let programs = ["x = 1", "x = 10", "x = 1", "x = 10"];
    let wanted = [Some(0.0), Some(1.0), Some(0.0), Some(1.0)];
    assert_eq!(scores(&config, &programs), wanted);
    drop(server);
    assert_eq!(scores(&config, &programs), wanted);
    // Another model is another question.
    let other = Judge::new(&JudgeConfig { model: "large".to_owned(), retries: 0, ..config }).unwrap();
    assert!(matches!(score(&other, &["x = 1"])[0], Err(PlugInError::Unreachable { .. })));
}

#[test]
fn a_judge_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = model("");
    let judge = Judge::new(&JudgeConfig { folder: folder.path().to_owned(), ..config(&server) }).unwrap();
    let (task, verdict) = (task(), verdict(vec![Outcome::Passed]));
    let attempt = Attempt::new(&task, "", "x = 3", &verdict);
    assert_eq!(judge.explain(&attempt), "");
    judge.score(std::slice::from_ref(&attempt));
    assert_eq!(judge.explain(&attempt), "`I have seen it 1 times.\\nScore: 3`");
}

#[test]
fn a_reply_without_a_rating_is_asked_for_again_with_another_seed() {
    let server = model("if said['seed'] == 0: return reply('Well, well.')");
    assert_eq!(scores(&config(&server), &["x = 10"]), [Some(1.0)]);
    let judge = Judge::new(&JudgeConfig { retries: 0, ..config(&server) }).unwrap();
    assert_eq!(
        score(&judge, &["x = 10"])[0].as_ref().unwrap_err().to_string(),
        "the plug-in answered `Well, well.`; wanted a last line `Score: N` with N from 1 to 10"
    );
}

#[test]
fn a_judge_that_fails_for_one_attempt_has_scores_for_the_others() {
    let server = model(
        "if rating == '2': os.close(self.connection.detach()); return
if rating == '3': return send(500, 'no')
if rating == '4': return send(200, {'choices': []})
if rating == '5': time.sleep(60)",
    );
    let config = JudgeConfig { timeout_ms: 500, retries: 0, ..config(&server) };
    let all = score(&Judge::new(&config).unwrap(), &["x = 1", "x = 2", "x = 3", "x = 4", "x = 5", "x = 10"]);
    assert!(matches!(all[0], Ok(Some(0.0))), "{:?}", all[0]);
    assert!(matches!(all[1], Err(PlugInError::Unreachable { .. })), "{:?}", all[1]);
    assert!(matches!(all[2], Err(PlugInError::Status { status: 500, .. })), "{:?}", all[2]);
    assert!(matches!(all[3], Err(PlugInError::Garbage { .. })), "{:?}", all[3]);
    assert!(matches!(all[4], Err(PlugInError::Hung(_))), "{:?}", all[4]);
    assert!(matches!(all[5], Ok(Some(1.0))), "{:?}", all[5]);
}

#[test]
fn what_is_judged_already_costs_nothing_when_the_budget_is_spent() {
    for (most_requests, most_tokens) in [(2, 0), (0, 20)] {
        let folder = tempfile::tempdir().unwrap();
        let server = model("");
        let config = |when_spent| JudgeConfig {
            folder: folder.path().to_owned(),
            most_requests,
            most_tokens,
            when_spent,
            ..config(&server)
        };
        let programs = ["x = 1", "x = 4", "x = 10"];
        let spent = |scores: &[PlugInScore]| {
            scores.iter().filter(|score| matches!(score, Err(PlugInError::Spent(_)))).count()
        };
        let first = score(&Judge::new(&config(WhenSpent::Stop)).unwrap(), &programs);
        assert_eq!(spent(&first), 1);
        // After a restart too: what is on disk has its score, the rest has none.
        let later = score(&Judge::new(&config(WhenSpent::NoScore)).unwrap(), &programs);
        for (before, after) in first.into_iter().zip(later) {
            assert_eq!(before.ok().flatten(), after.unwrap());
        }
    }
}

#[test]
fn no_more_requests_are_out_than_may_be() {
    let server = model("asked.append(1); time.sleep(0.1); now = len(asked) - 1; asked.pop(); rating = now");
    let programs: Vec<String> = (0..12).map(|index| format!("y = {index}")).collect();
    let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
    let config = JudgeConfig { concurrency: 3, worst: 0.0, best: 100.0, ..config(&server) };
    let most = scores(&config, &programs).into_iter().flatten().fold(0.0, f64::max);
    assert!(most > 0.01 && most <= 0.03, "{most}");
}

#[test]
fn a_table_that_cannot_work_is_refused() {
    let good = JudgeConfig {
        url: "https://example.org/v1/chat/completions".to_owned(),
        model: "small".to_owned(),
        rubric: "Is it short?".to_owned(),
        ..JudgeConfig::default()
    };
    assert!(Judge::new(&good).is_ok());
    let refused = |config: JudgeConfig| Judge::new(&config).err().unwrap();
    assert!(refused(JudgeConfig { url: String::new(), ..good.clone() }).contains("`url` is ``"));
    assert!(refused(JudgeConfig { model: String::new(), ..good.clone() }).contains("`model` is empty"));
    assert!(refused(JudgeConfig { rubric: String::new(), ..good.clone() }).contains("`rubric` is empty"));
    assert!(refused(JudgeConfig { best: 1.0, ..good.clone() }).contains("in this order"));
    assert!(refused(JudgeConfig { temperature: -1.0, ..good.clone() }).contains("a number from 0"));
    assert!(refused(JudgeConfig { max_tokens: 0, ..good.clone() }).contains("`max_tokens` is 0"));
    assert!(refused(JudgeConfig { concurrency: 0, ..good }).contains("wanted from 1 to 256"));
}
