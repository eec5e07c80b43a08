//! `callgate approvals`: what waits for people at a running gate, and what they say.

mod show;

use std::time::Duration;

use callgate_server::wire::{
    ApprovalDetail, ApprovalItem, ApprovalList, StandingItem, StandingList, SuggestionList,
};
use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::remote::{Reach, Remote, encoded, query};
use crate::{Outcome, opening, span};

const FOLDER: &str = "/api/v1/approvals";
const STANDING: &str = "/api/v1/standing-approvals";
/// The longest the gate waits before it answers.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Arguments of `callgate approvals`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Approvals,
}

#[derive(Debug, Subcommand)]
enum Approvals {
    /// List what waits for people
    List(List),
    /// Show what a reviewer needs to decide
    Show(Show),
    /// Agree
    Approve(Approve),
    /// Say no
    Reject(Say),
    /// Say something to the other reviewers without voting
    Comment(Comment),
    /// Hand your vote on one approval to another person
    Delegate(Delegate),
    /// Suggest rules for what people granted again and again
    Suggest(Suggest),
    /// List standing approvals, or take one back
    Standing(Standing),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    reach: Reach,
    /// Those that nobody has to decide any more, too
    #[arg(long)]
    all: bool,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only this agent's
    #[arg(long)]
    agent: Option<String>,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The approval, such as `apr-12`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    reach: Reach,
    /// Wait until people have decided, so long at most; up to a minute
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    wait: Option<Duration>,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Approve {
    #[command(flatten)]
    say: Say,
    /// Agree to more than this one call; comes about when every reviewer asks for the same
    #[arg(long)]
    standing: bool,
    /// How often a standing approval can be used; 10 if left out
    #[arg(long, value_name = "N", requires = "standing")]
    uses: Option<u64>,
    /// How long it stands; 8 hours if left out, 30 days at most
    #[arg(long = "for", value_name = "TIME", requires = "standing", value_parser = span::parse)]
    span: Option<Duration>,
    /// An argument that must stay as it is, several times for several; all of them if left out
    #[arg(long, value_name = "ARGUMENT", requires = "standing")]
    fix: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Say {
    /// The approval, such as `apr-12`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    reach: Reach,
    /// For the other reviewers
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Comment {
    /// The approval, such as `apr-12`
    #[arg(value_name = "ID")]
    id: String,
    /// For the other reviewers
    #[arg(value_name = "TEXT")]
    text: String,
    #[command(flatten)]
    reach: Reach,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Delegate {
    #[command(flatten)]
    say: Say,
    /// To whom
    #[arg(long, value_name = "PERSON")]
    to: String,
}

#[derive(Debug, clap::Args)]
struct Suggest {
    #[command(flatten)]
    reach: Reach,
    /// How the suggestions are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Standing {
    #[command(flatten)]
    reach: Reach,
    /// Those that ended, too
    #[arg(long)]
    all: bool,
    /// Take this one back, such as `std-14`
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    revoke: Option<String>,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: Args) -> Outcome {
    opening::block_on_one_thread(async {
        match args.command {
            Approvals::List(args) => list(args).await,
            Approvals::Show(args) => show(args).await,
            Approvals::Approve(args) => approve(args).await,
            Approvals::Reject(args) => said(&args, "reject", json!({"comment": args.comment})).await,
            Approvals::Comment(args) => comment(args).await,
            Approvals::Delegate(args) => {
                let Delegate { say, to } = args;
                said(&say, "delegate", json!({"to": to, "comment": say.comment})).await
            }
            Approvals::Suggest(args) => suggest(args).await,
            Approvals::Standing(args) => standing(args).await,
        }
    })
}

/// What the gate says, as this program understands it. A field it does not know is no reason to fail
/// for a program that reads JSON, so that is passed on as it came.
fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    serde_json::from_value(value.clone())
        .map_err(|e| Failure::unexpected(format!("the gate speaks another version of this interface: {e}")))
}

fn place(id: &str, verb: &str) -> String {
    let slash = if verb.is_empty() { "" } else { "/" };
    format!("{FOLDER}/{}{slash}{verb}", encoded(id))
}

async fn list(args: List) -> Outcome {
    let all = args.all.then_some("true");
    let path = query(
        FOLDER,
        &[("include_resolved", all), ("tenant", args.tenant.as_deref()), ("agent", args.agent.as_deref())],
    );
    let answer = args.reach.remote()?.get(&path).await?;
    if args.format == Format::Json {
        output::json(&answer)?;
        return Ok(Exit::Ok);
    }
    let ApprovalList { approvals } = typed(&answer)?;
    if approvals.is_empty() {
        output::note("nothing waits for people");
    }
    for approval in &approvals {
        output::line(&show::one_line(approval))?;
    }
    Ok(Exit::Ok)
}

async fn show(args: Show) -> Outcome {
    let wait = args.wait.map(|wait| wait.min(MAX_WAIT));
    let seconds = wait.map(|wait| format!("{}s", wait.as_millis().div_ceil(1000)));
    let path = query(&place(&args.id, ""), &[("wait", seconds.as_deref())]);
    let answer = args.reach.remote()?.get_waiting(&path, wait.unwrap_or_default()).await?;
    if args.format == Format::Json {
        output::json(&answer)?;
    } else {
        let detail: ApprovalDetail = typed(&answer)?;
        output::line(show::detail(&detail).trim_end())?;
    }
    Ok(Exit::Ok)
}

async fn approve(args: Approve) -> Outcome {
    let mut body = Map::new();
    body.insert("comment".to_owned(), json!(args.say.comment));
    if args.standing {
        let fixed = (!args.fix.is_empty()).then_some(&args.fix);
        let span_ms = args.span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        body.insert("standing".to_owned(), json!({"fixed": fixed, "span_ms": span_ms, "uses": args.uses}));
    }
    said(&args.say, "approve", Value::Object(body)).await
}

async fn comment(args: Comment) -> Outcome {
    let Comment { id, text, reach, format } = args;
    tell(&reach.remote()?, &id, "comment", json!({"comment": text}), format).await
}

async fn said(say: &Say, verb: &str, body: Value) -> Outcome {
    tell(&say.reach.remote()?, &say.id, verb, body, say.format).await
}

async fn tell(remote: &Remote, id: &str, verb: &str, body: Value, format: Format) -> Outcome {
    let answer = remote.post(&place(id, verb), &body).await?;
    if format == Format::Json {
        output::json(&answer)?;
    } else {
        let item: ApprovalItem = typed(&answer)?;
        output::line(&show::one_line(&item))?;
    }
    Ok(Exit::Ok)
}

async fn suggest(args: Suggest) -> Outcome {
    let answer = args.reach.remote()?.get(&format!("{FOLDER}/suggestions")).await?;
    if args.format == Format::Json {
        output::json(&answer)?;
        return Ok(Exit::Ok);
    }
    let SuggestionList { suggestions } = typed(&answer)?;
    if suggestions.is_empty() {
        output::note("no rule was granted five times without a rejection");
    }
    for suggestion in &suggestions {
        output::line(show::suggestion(suggestion).trim_end())?;
    }
    Ok(Exit::Ok)
}

async fn standing(args: Standing) -> Outcome {
    let remote = args.reach.remote()?;
    if let Some(id) = &args.revoke {
        let answer = remote.post(&format!("{STANDING}/{}/revoke", encoded(id)), &json!({})).await?;
        if args.format == Format::Json {
            output::json(&answer)?;
        } else {
            let item: StandingItem = typed(&answer)?;
            output::line(&show::standing(&item))?;
        }
        return Ok(Exit::Ok);
    }
    let path = query(STANDING, &[("include_resolved", args.all.then_some("true"))]);
    let answer = remote.get(&path).await?;
    if args.format == Format::Json {
        output::json(&answer)?;
        return Ok(Exit::Ok);
    }
    let StandingList { standing_approvals } = typed(&answer)?;
    if standing_approvals.is_empty() {
        output::note("there is no standing approval");
    }
    for item in &standing_approvals {
        output::line(&show::standing(item))?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_elsewhere() {
        assert_eq!(place("apr-1", "approve"), "/api/v1/approvals/apr-1/approve");
        assert_eq!(place("../keys?x=1", ""), "/api/v1/approvals/..%2Fkeys%3Fx%3D1");
        assert_eq!(query("/a", &[("b", None), ("c", Some("ä b")), ("d", Some("e"))]), "/a?c=%C3%A4%20b&d=e");
    }
}
