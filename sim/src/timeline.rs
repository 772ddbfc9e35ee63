//! A history as a picture: who was on the device, how many bytes, which connections, which jobs, over virtual time.

use std::fmt::Write;

use greenroom_director::{Group, Moment};

use crate::record::{Bar, Record, Tone};

const LEFT: f64 = 150.0;
const WIDTH: f64 = 1_500.0;
const ROW: f64 = 18.0;
const BYTES: f64 = 80.0;
/// Longer pauses are drawn as if they were this long.
const PAUSE_MAX: u64 = 2_000_000;

/// Draws `record`; pauses of more than two seconds are cut to two.
#[must_use]
pub fn timeline(title: &str, record: &Record) -> String {
    let axis = Axis::of(record);
    let mut picture = Picture {
        axis,
        svg: String::new(),
        y: 30.0,
    };
    picture.bytes(record);
    picture.heading("on the device");
    for group in Group::ALL {
        picture.row(group.name(), &record.groups[group as usize]);
    }
    picture.heading("connections");
    for (connection, bars) in &record.connections {
        picture.row(&format!("connection {connection}"), bars);
    }
    picture.heading("jobs");
    for lane in lanes(record) {
        picture.row("", &lane);
    }
    picture.marks(record);
    let (height, width) = (picture.y + 20.0, LEFT + WIDTH + 20.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"10\" y=\"18\" font-size=\"14\">{}</text>\n{}</svg>\n",
        escape(title),
        picture.svg
    )
}

/// Jobs that overlap get rows of their own.
fn lanes(record: &Record) -> Vec<Vec<Bar>> {
    let mut lanes: Vec<Vec<Bar>> = Vec::new();
    for (_, bar) in &record.jobs {
        let ends = |lane: &Vec<Bar>| lane.last().and_then(|last| last.to).is_some_and(|to| to <= bar.from);
        match lanes.iter_mut().find(|lane| ends(lane)) {
            Some(lane) => lane.push(bar.clone()),
            None => lanes.push(vec![bar.clone()]),
        }
    }
    lanes
}

/// Where a moment is drawn.
struct Axis {
    /// Each moment at which something happened, and its place in shortened time.
    places: Vec<(Moment, u64)>,
    length: u64,
}

impl Axis {
    fn of(record: &Record) -> Self {
        let bars = record.groups.iter().flatten();
        let bars = bars.chain(record.connections.iter().flat_map(|(_, bars)| bars));
        let bars = bars.chain(record.jobs.iter().map(|(_, bar)| bar));
        let mut moments: Vec<Moment> = bars.flat_map(|bar| [Some(bar.from), bar.to]).flatten().collect();
        moments.extend(record.bytes.iter().map(|(at, _)| *at));
        moments.extend([Moment(0), record.end]);
        moments.sort_unstable();
        moments.dedup();
        let (mut places, mut place, mut before) = (Vec::new(), 0, Moment(0));
        for moment in moments {
            place += moment.since(before).0.min(PAUSE_MAX);
            places.push((moment, place));
            before = moment;
        }
        Self {
            length: place.max(1),
            places,
        }
    }

    fn x(&self, at: Moment) -> f64 {
        let index = self.places.partition_point(|(moment, _)| *moment <= at);
        let place = index.checked_sub(1).map_or(0, |index| self.places[index].1);
        LEFT + WIDTH * place as f64 / self.length as f64
    }
}

struct Picture {
    axis: Axis,
    svg: String,
    y: f64,
}

impl Picture {
    fn add(&mut self, element: &str) {
        // Writing into a string does not fail.
        let _written = writeln!(self.svg, "{element}");
    }

    fn heading(&mut self, words: &str) {
        self.y += ROW;
        let y = self.y;
        self.add(&format!(
            "<text x=\"10\" y=\"{y:.0}\" font-weight=\"bold\">{words}</text>"
        ));
        self.y += 4.0;
    }

    fn row(&mut self, name: &str, bars: &[Bar]) {
        let y = self.y;
        self.add(&format!("<text x=\"10\" y=\"{:.0}\">{}</text>", y + 12.0, escape(name)));
        for bar in bars {
            let (from, to) = (self.axis.x(bar.from), bar.to.map_or(LEFT + WIDTH, |to| self.axis.x(to)));
            self.add(&format!(
                "<rect x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{:.0}\" fill=\"{}\"><title>{}: {:.3} s to {}</title></rect>",
                y + 2.0,
                (to - from).max(1.0),
                ROW - 4.0,
                colour(bar.tone),
                escape(&bar.what),
                seconds(bar.from),
                bar.to.map_or("the end".into(), |to| format!("{:.3} s", seconds(to))),
            ));
        }
        self.y += ROW;
    }

    fn bytes(&mut self, record: &Record) {
        let most = record.bytes.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0).max(1);
        let bottom = self.y + BYTES;
        let mut points = format!("{LEFT:.1},{bottom:.1}");
        let mut before = bottom;
        for (at, bytes) in &record.bytes {
            let (x, y) = (self.axis.x(*at), bottom - BYTES * *bytes as f64 / most as f64);
            points.push_str(&format!(" {x:.1},{before:.1} {x:.1},{y:.1}"));
            before = y;
        }
        points.push_str(&format!(
            " {:.1},{before:.1} {:.1},{bottom:.1}",
            LEFT + WIDTH,
            LEFT + WIDTH
        ));
        let y = self.y;
        self.add(&format!(
            "<text x=\"10\" y=\"{:.0}\">bytes (at most {most})</text>",
            y + 12.0
        ));
        self.add(&format!(
            "<polygon points=\"{points}\" fill=\"#cfe3f7\" stroke=\"#4a83b8\"/>"
        ));
        self.y = bottom + 6.0;
    }

    fn marks(&mut self, record: &Record) {
        let bottom = self.y;
        for at in &record.restarts {
            let x = self.axis.x(*at);
            self.add(&format!(
                "<line x1=\"{x:.1}\" y1=\"26\" x2=\"{x:.1}\" y2=\"{bottom:.0}\" stroke=\"#b00\" stroke-dasharray=\"4 3\"><title>restart at {:.3} s</title></line>",
                seconds(*at)
            ));
        }
    }
}

fn seconds(at: Moment) -> f64 {
    at.0 as f64 / 1e6
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Moving => "#f2b84b",
        Tone::There => "#5b9bd5",
        Tone::Waiting => "#c9c9c9",
        Tone::Live => "#4caf50",
        Tone::Closing => "#8d6e63",
        Tone::Done => "#8fc98f",
        Tone::Cancelled => "#d9c36a",
        Tone::Failed => "#d9534f",
    }
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
