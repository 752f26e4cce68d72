//! `--report-html`: the page of a run, as text and as a picture.

use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_runner::simulator::{ConfigChange, Fault, Faults, SimulatedLimits, Simulator, Tier};
use sluice_sdk::testing::FILTERS;
use sluice_tests::{Program, Stack, root, screenshots_wanted};

use crate::support::posts::{line, seed, texts};
use crate::support::scores::{TWO, add_posts};
use crate::support::{poisoned_by, set_faults, slow, slow_down};

/// What differs from run to run, besides ids: times, the lines of charts, and numbers that follow from times.
const PAGE_FILTERS: &[(&str, &str)] = &[
    (r"<time>[^<]*</time>", "<time>[time]</time>"),
    (r"\b(\d+h )?(\d+m )?\d+(\.\d+)? ?(ms|s|m)\b", "[span]"),
    (r"at most \d+ MiB", "at most [memory]"),
    (r"\d+ to Supabase", "[some] to Supabase"),
    (
        r"<strong>\d+</strong>(<span class=.detail.>to Supabase)",
        "<strong>[some]</strong>$1",
    ),
    (r"\b([xy12]{1,2}|d|width|height)=.[-0-9.MLZ ]*.", "$1=[]"),
    (
        r"(?s)(<line class=.grid|<text class=.(end|middle)|<rect class=.column)[^\n]*\n",
        "",
    ),
    (
        r"at most [0-9.]+[kM]? in a minute(, [0-9.]+ %)?",
        "at most [rate]",
    ),
    (r"<b>\d+</b><span class=.bar good.*", "[bar]"),
    // Which request of several at once came first.
    (r"req_simulated_\d+", "[request]"),
    (r"sluice \d+\.\d+\.\d+", "sluice [version]"),
];

/// Runs the program with `--report-html`, and returns the page and the exit code.
async fn page(program: &Program, arguments: &[&str]) -> (PathBuf, Option<i32>) {
    let file = program.file("page.html", "an older page");
    let arguments = [arguments, &["--report-html", file.to_str().unwrap()]].concat();
    let run = program.run(&arguments).await;
    let name = format!("{}.html", arguments.first().unwrap());
    let kept = program.file(&name, std::fs::read(&file).unwrap());
    assert!(run.code.is_some(), "{}", run.stderr);
    (kept, run.code)
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap()
}

/// Asserts the page's text. What a browser would load or run is not in it.
macro_rules! assert_page {
    ($name:literal, $page:expr) => {
        let page = read($page);
        for alien in ["http:", "https:", "<script", "javascript:", "src=", "url(", "@import"] {
            assert!(!page.contains(alien), "the page has {alien}");
        }
        let (_, body) = page.split_once("<body>").unwrap();
        let filters: Vec<_> = FILTERS.iter().chain(PAGE_FILTERS).copied().collect();
        insta::with_settings!({ filters => filters }, { insta::assert_snapshot!($name, body) });
    };
}

/// A stack, a simulator that limits, and a program that counts each refusal of a row as final.
async fn set_up(posts: &[String], simulator: &Simulator, stack: &Stack) -> Program {
    seed(stack, posts).await;
    let toml =
        "[embedding]\nbatch_size = 4\n[leases]\nmax_attempts = 1\n[limits]\nconcurrency = 2\n";
    Program::on(stack, &simulator.base_url()).configured(toml)
}

#[tokio::test]
async fn a_page_shows_what_a_run_did_and_what_failed() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(poisoned_by("☠")).await;
    // Long enough that the page has rates.
    slow_down(&simulator, 600);
    let mut posts = texts(30);
    for bad in [3, 14, 15] {
        posts[bad].push_str(" ☠ <script>alert(1)</script>");
    }
    let program = set_up(&posts, &simulator, &stack).await;
    let (file, code) = page(&program, &["embed"]).await;
    assert_eq!(code, Some(4));
    let text = read(&file);
    // No text of a post is in it, not even of those that failed.
    for word in ["gnome", "anybody", "alert"] {
        assert!(!text.contains(word), "{word} is in the page");
    }
    assert_page!("failures", &file);
    screenshots("failures", &file, 1_700);
    let (file, code) = page(&program, &["embed"]).await;
    assert_eq!(code, Some(0));
    assert!(read(&file).contains("Nothing was due."));
    assert_page!("empty", &file);
    screenshots("empty", &file, 620);
}

#[tokio::test]
async fn a_run_that_fails_leaves_a_page_with_the_reason() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(0)).await;
    let program = set_up(&texts(3), &simulator, &stack).await;
    set_faults(&simulator, Faults::only(Fault::BadKey, 1.0));
    let (file, code) = page(&program, &["embed"]).await;
    assert_eq!(code, Some(5));
    assert_page!("refused", &file);
    screenshots("refused", &file, 1_300);
    // Nor does a run that cannot even begin.
    let broken = Program::on(&stack, &simulator.base_url()).with("OPENAI_API_KEY", "");
    let (file, code) = page(&broken, &["score"]).await;
    assert_eq!(code, Some(2));
    assert_page!("no_key", &file);
}

#[tokio::test]
async fn store_and_recompute_have_pages_too() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(0)).await;
    let program = Program::on(&stack, &simulator.base_url());
    let lines = [line("Elm Park", "A <b>bold</b> post"), "no JSON".to_owned()].join("\n");
    let posts = program.file("posts.jsonl", lines);
    let (file, code) = page(&program, &["store", posts.to_str().unwrap()]).await;
    assert_eq!(code, Some(4));
    assert!(!read(&file).contains("bold"));
    assert_page!("store", &file);
    let (file, code) = page(&program, &["recompute"]).await;
    assert_eq!(code, Some(0));
    assert_page!("recompute", &file);
}

#[tokio::test]
async fn a_page_that_cannot_be_written_is_said_before_anything_is_spent() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(0)).await;
    let program = set_up(&texts(3), &simulator, &stack).await;
    let folder = program.file("x", "").parent().unwrap().to_owned();
    for bad in [folder.join("missing/page.html"), folder] {
        let run = program
            .run(&["embed", "--report-html", bad.to_str().unwrap()])
            .await;
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains(bad.to_str().unwrap()), "{}", run.stderr);
    }
    assert_eq!(simulator.stats().requests, 0);
}

/// The numbers in the rows of the first table below a heading, with what stands between tags.
fn cells(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, table) = page.split_once(heading).unwrap();
    let (table, _) = table.split_once("</table>").unwrap();
    let cell = |cell: &str| {
        let parts = cell
            .split('<')
            .filter_map(|part| Some(part.split_once('>')?.1));
        parts.collect::<String>()
    };
    let row = |row: &str| row.split("</td>").map(cell).collect();
    table.split("<tr>").skip(2).map(row).collect()
}

#[tokio::test]
async fn a_page_has_the_cost_of_each_tier_and_the_latest_runs_of_its_flow() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(0)).await;
    add_posts(&stack, 40).await;
    let flex = "[openai]\nservice_tier = 'flex'\nflex_fallback = true\n";
    let program = Program::on(&stack, &simulator.base_url()).configured(&format!("{flex}{TWO}"));
    stack
        .sql(
            "insert into runs (id, flow, started_at, ended_at, exit, counts, input_tokens, output_tokens, usd)
               select gen_random_uuid(), flow, now() - i * interval '1 hour', now() - i * interval '59 minutes',
                 5, '{\"written\": 7}', i, 0, 0.5
               from generate_series(1, 40) as i, unnest(array['score', 'embed']) as flow",
        )
        .await;
    set_faults(&simulator, Faults::only(Fault::ResourceUnavailable, 0.5));
    let (file, code) = page(&program, &["score"]).await;
    assert_eq!(code, Some(0));
    let page_text = read(&file);

    let grouped = |number: u64| match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    };
    let billed = simulator.ledger().entries;
    let tiers: Vec<_> = billed.iter().map(|entry| entry.tier).collect();
    assert_eq!(tiers, [Tier::Default, Tier::Flex], "both tiers were used");
    let shown = cells(&page_text, "Cost by model and tier");
    for (entry, row) in billed.iter().zip(&shown) {
        let name = match entry.tier {
            Tier::Flex => "flex",
            _ => "standard",
        };
        let usd = entry.picodollars as f64 / 1e12;
        let usd = match usd {
            0.01.. => format!("${usd:.2}"),
            _ => format!("${usd:.6}"),
        };
        let expected = [
            "score",
            &entry.model,
            name,
            &grouped(entry.requests),
            &grouped(entry.input_tokens),
            &grouped(entry.cached_tokens),
            &grouped(entry.output_tokens),
            &usd,
        ];
        assert_eq!(row.get(..8).unwrap(), expected);
    }
    let runs = cells(&page_text, "Latest runs");
    assert_eq!(runs.len(), 30);
    assert!(runs.iter().all(|run| run[1] == "score"), "{runs:?}");
    assert_eq!(
        (runs[0][2].as_str(), runs[0][3].as_str()),
        ("complete", "40")
    );
    assert_eq!(runs[1][2], "failed (exit 5)");
    // The latest first: the one of 29 hours ago is the last that is shown.
    assert_eq!(runs[29][5], "29");

    // Without the table there are no latest runs, and the run is as good.
    stack.sql("alter table runs rename to runs_gone").await;
    let (file, code) = page(&program, &["score", "--dry-run"]).await;
    stack.sql("alter table runs_gone rename to runs").await;
    assert_eq!(code, Some(0));
    assert!(!read(&file).contains("Latest runs"));
}

/// A longer run with a limit, for the charts. Only to be looked at.
#[tokio::test]
async fn a_run_at_its_limit_is_looked_at() {
    if !screenshots_wanted() {
        return;
    }
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(120)).await;
    let change = ConfigChange {
        limits: Some(SimulatedLimits {
            tokens_per_minute: Some(60_000),
            requests_per_minute: Some(900),
            ..SimulatedLimits::default()
        }),
        faults: Some(Faults::only(Fault::RateLimit, 0.06)),
        ..ConfigChange::default()
    };
    simulator.change(change).unwrap();
    let posts: Vec<String> = texts(900).iter().map(|text| text.repeat(3)).collect();
    let program = set_up(&posts, &simulator, &stack).await;
    let (file, _) = page(&program, &["embed", "--deadline", "45s"]).await;
    screenshots("limit", &file, 1_500);
}

/// Takes pictures of a page, if they are wanted: light, dark, on a phone and on paper. Look at them in
/// `target/screenshots`.
fn screenshots(name: &str, page: &Path, height: u32) {
    if !screenshots_wanted() {
        return;
    }
    let folder = root().join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let light = "--blink-settings=preferredColorScheme=1";
    let dark = "--blink-settings=preferredColorScheme=0";
    let mut pictures = Vec::new();
    for (form, width, height, scheme) in [
        ("light", 1_120, height, light),
        ("dark", 1_120, height, dark),
        ("phone", 390, height * 2, light),
    ] {
        let picture = folder.join(format!("{name}-{form}.png"));
        let shot = format!("--screenshot={}", picture.display());
        let size = format!("--window-size={width},{height}");
        chromium(&["--hide-scrollbars", &size, scheme, &shot], page);
        pictures.push(std::fs::read(picture).unwrap());
    }
    assert!(pictures.iter().all(|picture| picture.len() > 10_000));
    let distinct = pictures.iter().collect::<std::collections::HashSet<_>>();
    assert_eq!(distinct.len(), 3, "{name} looks the same in light and dark");
    let paper = folder.join(format!("{name}.pdf"));
    chromium(
        &[
            "--no-pdf-header-footer",
            &format!("--print-to-pdf={}", paper.display()),
        ],
        page,
    );
    assert!(std::fs::read(paper).unwrap().starts_with(b"%PDF"));
}

fn chromium(arguments: &[&str], page: &Path) {
    let ended = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(arguments)
        .arg(page)
        .output()
        .expect("chromium is not installed: unset SLUICE_TEST_SCREENSHOTS");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
