//! The page: markup, style, script, two libraries and the content, in one file.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Content, ReportError};

const MARKUP: &str = include_str!("../../assets/report.html");
const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");

/// uPlot 1.6.32, MIT: the curves.
const CHARTS: &str = include_str!(concat!(env!("RLTRAIN_PAGE_LIBRARIES"), "/uPlot.iife.min.js"));
const CHARTS_STYLE: &str = include_str!(concat!(env!("RLTRAIN_PAGE_LIBRARIES"), "/uPlot.min.css"));
/// highlight.js 11.12.0, BSD-3-Clause: the colours of programs.
const HIGHLIGHT: &str = include_str!(concat!(env!("RLTRAIN_PAGE_LIBRARIES"), "/highlight.min.js"));

/// The page that shows `content`. With `refresh`, it loads itself anew after so many seconds.
///
/// # Errors
///
/// Never on content that was read from a run: numbers and texts have a JSON form.
pub fn page(content: &Content, refresh: Option<u64>) -> Result<String, ReportError> {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    serde_json::to_writer(&mut zipped, content).map_err(std::io::Error::from)?;
    zipped.flush()?;
    let data = STANDARD.encode(zipped.finish()?);
    let refresh = refresh.map_or_else(String::new, |seconds| seconds.to_string());
    let pieces = [
        ("{{title}}", escaped(&content.name)),
        ("{{refresh}}", refresh),
        ("{{style}}", format!("{CHARTS_STYLE}\n{STYLE}")),
        ("{{libraries}}", format!("{}\n{}", closed(CHARTS), closed(HIGHLIGHT))),
        ("{{script}}", closed(SCRIPT)),
        ("{{data}}", data),
    ];
    let mut page =
        String::with_capacity(MARKUP.len() + pieces.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut rest = MARKUP;
    // Once through the markup, so that nothing in a piece is taken for a place.
    while let Some((start, (place, text))) =
        pieces.iter().filter_map(|piece| Some((rest.find(piece.0)?, piece))).min_by_key(|(start, _)| *start)
    {
        page.push_str(&rest[..start]);
        page.push_str(text);
        rest = &rest[start + place.len()..];
    }
    page.push_str(rest);
    Ok(page)
}

/// A script that nothing in it ends.
fn closed(script: &str) -> String {
    script.replace("</script", "<\\/script")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
