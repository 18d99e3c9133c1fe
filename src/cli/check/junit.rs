//! The reports as JUnit's XML, which continuous integration shows as tests.

use std::fmt::Write;

use super::print::conversation;
use crate::check::play::Left;
use crate::check::{Profile, Report, State};

/// One suite for each profile. A warning is a passed test with an output; what is left behind is an output of its own.
pub(super) fn document(reports: &[Report], left: &[Left]) -> String {
    let mut xml =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"rollcall check\">\n"
            .to_owned();
    for profile in Profile::ALL {
        let suite: Vec<&Report> = reports
            .iter()
            .filter(|one| one.profile == profile)
            .collect();
        if suite.is_empty() {
            continue;
        }
        let count = |state| suite.iter().filter(|one| one.state == state).count();
        put(
            &mut xml,
            format_args!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">\n",
                profile.as_str(),
                suite.len(),
                count(State::Fail),
                count(State::Skip),
            ),
        );
        for report in suite {
            case(&mut xml, report);
        }
        xml.push_str("  </testsuite>\n");
    }
    if !left.is_empty() {
        let lines = left
            .iter()
            .map(|left| format!("left behind: {} ({})\n", left.path, left.why));
        let lines: String = lines.collect();
        put(
            &mut xml,
            format_args!("  <system-err>{}</system-err>\n", escaped(&lines)),
        );
    }
    xml + "</testsuites>\n"
}

fn case(xml: &mut String, report: &Report) {
    let (profile, name) = (report.profile.as_str(), escaped(&report.name));
    put(
        xml,
        format_args!("    <testcase classname=\"{profile}\" name=\"{name}\">\n"),
    );
    let notes = escaped(&report.notes.join("; "));
    let about = escaped(&format!("{}: {}\n", report.source, report.title));
    match report.state {
        State::Ok => {}
        State::Skip => put(xml, format_args!("      <skipped message=\"{notes}\"/>\n")),
        State::Warn => put(
            xml,
            format_args!("      <system-out>warning: {notes}\n{about}</system-out>\n"),
        ),
        State::Fail => {
            let said: String = report.conversation.iter().map(conversation).collect();
            let said = escaped(&said);
            put(
                xml,
                format_args!("      <failure message=\"{notes}\">{about}{said}</failure>\n"),
            );
        }
    }
    xml.push_str("    </testcase>\n");
}

fn put(xml: &mut String, what: std::fmt::Arguments<'_>) {
    xml.write_fmt(what).expect("a text can be written to");
}

/// Text in XML. What no XML may have is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_element() {
        let report = |name: &str, state, note: &str| Report {
            profile: Profile::Rfc,
            name: name.to_owned(),
            source: "RFC 7644 §3.3".to_owned(),
            title: "So".to_owned(),
            state,
            notes: vec![note.to_owned()],
            conversation: Vec::new(),
        };
        let reports = [
            report("a", State::Ok, ""),
            report("b", State::Skip, "no bulk"),
            report("c", State::Warn, "better so"),
            report("d", State::Fail, "<\"\u{1b}&"),
        ];
        let left = [Left {
            path: "/Users/1".to_owned(),
            why: "500".to_owned(),
        }];
        assert_eq!(
            document(&reports, &left),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="rollcall check">
  <testsuite name="rfc" tests="4" failures="1" errors="0" skipped="1">
    <testcase classname="rfc" name="a">
    </testcase>
    <testcase classname="rfc" name="b">
      <skipped message="no bulk"/>
    </testcase>
    <testcase classname="rfc" name="c">
      <system-out>warning: better so
RFC 7644 §3.3: So
</system-out>
    </testcase>
    <testcase classname="rfc" name="d">
      <failure message="&lt;&quot;�&amp;">RFC 7644 §3.3: So
</failure>
    </testcase>
  </testsuite>
  <system-err>left behind: /Users/1 (500)
</system-err>
</testsuites>
"#
        );
    }
}
