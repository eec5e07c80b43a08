//! The journal of an enforcement point: what is whole is read back, whatever happened to the file.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use callgate_store::Fs as _;
use callgate_store::journal::{Journal, JournalError};
use callgate_store::sim::{Faults, SimFs};

const PATH: &str = "open-x.jsonl";

fn bodies() -> [String; 3] {
    [r#"{"a":1}"#, r#"{"b":"\",\"body\":"}"#, r#"{"c":[]}"#].map(str::to_owned)
}

fn written(fs: &SimFs) -> Vec<u8> {
    let mut journal = Journal::create(fs, PATH, "x").unwrap();
    for (n, body) in (0..).zip(bodies()) {
        assert_eq!(journal.append(&body), Ok(n));
    }
    fs.edit(PATH, |bytes| bytes.clone()).unwrap()
}

#[test]
fn what_was_written_is_read_back_and_goes_on() {
    let fs = SimFs::new(1);
    written(&fs);
    let (mut journal, found) = Journal::open(&fs, PATH, "x").unwrap();
    assert_eq!((found.bodies.as_slice(), found.damaged_bytes), (bodies().as_slice(), 0));
    assert_eq!(journal.append("{}"), Ok(3));
    assert_eq!(journal.append("{\n}"), Err(JournalError::Lines));
    let (journal, found) = Journal::open(&fs, PATH, "x").unwrap();
    assert_eq!((found.bodies.len(), journal.len(), journal.stopped()), (4, 4, None));
    // Under another id nothing of it is whole.
    let (_, found) = Journal::open(&fs, PATH, "y").unwrap();
    assert!(found.bodies.is_empty() && found.damaged_bytes > 0);
}

#[test]
fn a_journal_torn_at_any_byte_gives_what_is_whole_and_takes_no_more() {
    let fs = SimFs::new(1);
    let whole = written(&fs);
    for length in 0..=whole.len() {
        fs.edit(PATH, |bytes| *bytes = whole[..length].to_vec()).unwrap();
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        let (mut journal, found) = Journal::open(&fs, PATH, "x").unwrap();
        assert_eq!(found.bodies, bodies()[..lines], "{length}");
        let torn = found.damaged_bytes > 0;
        assert_eq!(torn, length > 0 && whole[length - 1] != b'\n', "{length}");
        assert_eq!(journal.append("{}").is_err(), torn, "{length}");
    }
}

#[test]
fn a_byte_changed_anywhere_is_never_taken_for_a_record() {
    let fs = SimFs::new(1);
    let whole = written(&fs);
    for at in 0..whole.len() {
        for change in [1u8, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= change;
            fs.edit(PATH, |bytes| bytes.clone_from(&changed)).unwrap();
            let (mut journal, found) = Journal::open(&fs, PATH, "x").unwrap();
            let line = whole[..at].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(found.bodies, bodies()[..line], "byte {at}");
            assert!(found.damaged_bytes > 0 && journal.append("{}").is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_every_call() {
    for garble in [false, true] {
        for crash_at in 1..40 {
            let fs = SimFs::new(crash_at);
            let mut faults = Faults::default();
            (faults.crash_at, faults.garble) = (Some(crash_at), garble);
            fs.set_faults(faults);
            let mut acknowledged = Vec::new();
            if let Ok(mut journal) = Journal::create(&fs, PATH, "x") {
                for n in 0..6 {
                    let body = format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(300));
                    if journal.append(&body).is_ok() {
                        acknowledged.push(body);
                    }
                }
            }
            fs.crash();
            fs.set_faults(Faults::default());
            if acknowledged.is_empty() && fs.open(PATH).is_err() {
                continue;
            }
            let (_, found) = Journal::open(&fs, PATH, "x").unwrap();
            assert!(found.bodies.starts_with(&acknowledged), "{crash_at} {garble}");
            assert!(found.bodies.len() <= acknowledged.len() + 1, "{crash_at} {garble}");
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_taken() {
    let fs = SimFs::new(3);
    let mut journal = Journal::create(&fs, PATH, "x").unwrap();
    journal.append("{}").unwrap();
    let next = fs.syncs() + 1;
    let mut faults = Faults::default();
    faults.fail_sync_at = Some(next);
    fs.set_faults(faults);
    assert!(matches!(journal.append("{}"), Err(JournalError::Stopped(_))));
    assert!(matches!(journal.append("{}"), Err(JournalError::Stopped(_))), "a later sync proves nothing");
}
