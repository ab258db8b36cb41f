//! The numbers that were promised of the gateway, and their table.

use super::worker::{Measured, Memory, Pair, Peaks};
use crate::bench::{
    numbers::{Bound, Number},
    report::{Setting, write_number},
    stats::Stats,
};
use std::fmt::Write;

/// What 2,000 connections were promised of: fewer say nothing about it.
const CONNECTIONS: usize = 2000;

/// What is still called constant, in MB: allocators and stacks settle, bodies do not come into it.
const CONSTANT: f64 = 1.0;

fn numbers(measured: &Measured) -> Vec<Number> {
    let number = |what, value, unit, bound| Number { what, half: None, value, unit, bound, aim: None };
    let memory = |memory: Memory| match memory.connections {
        CONNECTIONS => Ok(memory.held - memory.idle),
        few => Err(format!("only {few} connections")),
    };
    let growth = |peaks: Option<Peaks>| match peaks {
        Some(Peaks { tenth, whole }) => Ok(whole - tenth),
        None => Err("not in a quick look".to_owned()),
    };
    let (most, least) = (Bound::AtMost, Bound::AtLeast);
    vec![
        number("set-up of a connection / direct", slowdown(&measured.setup), " ×", most(3.0)),
        number("throughput, copied / direct", speed(&measured.clear), " ×", least(0.7)),
        number("throughput, TLS opened / direct", speed(&measured.opened), " ×", least(0.5)),
        number("throughput, TLS with a secret / direct", speed(&measured.secret), " ×", least(0.5)),
        number("memory of 2,000 connections, copied", memory(measured.memory_clear), " MB", most(64.0)),
        number("memory of 2,000 connections, TLS opened", memory(measured.memory_opened), " MB", most(160.0)),
        number("memory growth after 1 of 10 GB, copied", growth(measured.long_clear), " MB", most(CONSTANT)),
        number(
            "memory growth after 1 of 10 GB, with a secret",
            growth(measured.long_secret),
            " MB",
            most(CONSTANT),
        ),
    ]
}

/// How many times longer it takes through the gateway.
fn slowdown(pair: &Pair) -> Result<f64, String> {
    let median =
        |times: &_| Stats::of(times).map(|stats| stats.median).ok_or_else(|| "no samples".to_owned());
    Ok(median(&pair.gateway)? / median(&pair.direct)?)
}

fn speed(pair: &Pair) -> Result<f64, String> {
    slowdown(pair).map(f64::recip)
}

pub(super) fn markdown(setting: &Setting, is_quick: bool, bytes: u64, measured: &Measured) -> String {
    let mut out = String::new();
    write(setting, is_quick, bytes, measured, &mut out).map_or_else(|_| String::new(), |()| out)
}

fn write(
    setting: &Setting,
    is_quick: bool,
    bytes: u64,
    measured: &Measured,
    out: &mut String,
) -> std::fmt::Result {
    setting.write(out)?;
    if is_quick {
        writeln!(out, "- quick: too few samples; not a measurement to keep")?;
    }
    writeln!(out, "\n| number | who | measured | promised | |\n|---|---|---|---|---|")?;
    numbers(measured).iter().try_for_each(|number| write_number(number, out))?;
    writeln!(
        out,
        "\n| | samples | direct, median ms | through the gateway | p99, direct | through the gateway |\n|---|---|---|---|---|---|"
    )?;
    let megabytes = bytes / 1_000_000;
    for (what, pair) in [
        ("connect, and one byte there and back".to_owned(), &measured.setup),
        (format!("{megabytes} MB over one connection, copied"), &measured.clear),
        (format!("{megabytes} MB over TLS, opened"), &measured.opened),
        (format!("{megabytes} MB over TLS, opened, with a secret"), &measured.secret),
    ] {
        let (Some(direct), Some(gateway)) = (Stats::of(&pair.direct), Stats::of(&pair.gateway)) else {
            continue;
        };
        writeln!(
            out,
            "| {what} | {} | {:.3} | {:.3} | {:.3} | {:.3} |",
            gateway.count, direct.median, gateway.median, direct.p99, gateway.p99
        )?;
    }
    writeln!(out)?;
    for (what, memory) in [("copied", measured.memory_clear), ("TLS opened", measured.memory_opened)] {
        let Memory { connections, idle, held } = memory;
        writeln!(out, "- {what}: {idle:.1} MB before, {held:.1} MB with {connections} connections")?;
    }
    for (what, peaks) in [("copied", measured.long_clear), ("with a secret", measured.long_secret)] {
        if let Some(Peaks { tenth, whole }) = peaks {
            writeln!(out, "- {what}: {tenth:.1} MB at most after 1 GB, {whole:.1} MB after 10 GB")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn twice_the_time_is_half_the_speed_and_few_connections_are_no_number() {
        let ms = |count| vec![Duration::from_millis(count); 3];
        let pair = Pair { direct: ms(10), gateway: ms(20) };
        let memory = |connections| Memory { connections, idle: 10.0, held: 75.0 };
        let measured = Measured {
            setup: pair.clone(),
            clear: pair.clone(),
            opened: pair,
            secret: Pair::default(),
            memory_clear: memory(2000),
            memory_opened: memory(200),
            long_clear: Some(Peaks { tenth: 20.0, whole: 29.0 }),
            long_secret: None,
        };
        let numbers = numbers(&measured);
        let verdicts: Vec<_> = numbers.iter().map(Number::verdict).collect();
        assert_eq!(
            verdicts,
            ["met", "missed", "met", "not measured", "missed", "not measured", "missed", "not measured"]
        );
        assert_eq!(numbers[0].value, Ok(2.0));
        assert_eq!(numbers[4].value, Ok(65.0));
    }
}
