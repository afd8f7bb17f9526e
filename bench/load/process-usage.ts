import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { Phase } from './options.js';

/** `[[dd-]hh:]mm:ss[.cc]` of ps, in seconds. */
export function parseCpuTime(text: string): number {
  const [clock, days] = text.trim().split('-').reverse();
  const seconds = clock.split(':').reduce((total, part) => total * 60 + Number(part), 0);
  return seconds + Number(days ?? 0) * 86_400;
}

function ask(pid: number, column: string): string {
  return execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], { encoding: 'utf8' });
}

/** CPU time of a process, all of its threads, in seconds: from the scheduler in ns where there is /proc. */
export function readCpuSeconds(pid: number): number {
  let nanoseconds = 0;
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    }
  } catch {
    // No /proc, no schedstat, or a thread that ended while we read: ps knows the process as a whole.
    return parseCpuTime(ask(pid, 'time'));
  }
  return nanoseconds / 1e9;
}

/** Resident memory of a process in bytes. */
export function readRssBytes(pid: number): number {
  let kilobytes: number;
  try {
    kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    kilobytes = Number(ask(pid, 'rss'));
  }
  return kilobytes * 1024;
}

/** Measures one timed part: wall time and the CPU time of both sides. */
export class PhaseClock {
  private readonly brokerPid: number | null;
  private readonly brokerCpuSeconds: number;
  private readonly generatorCpu: NodeJS.CpuUsage;
  private readonly startedAtMs: number;

  /** Starts now. */
  constructor(brokerPid: number | null) {
    this.brokerPid = brokerPid;
    this.brokerCpuSeconds = brokerPid === null ? 0 : readCpuSeconds(brokerPid);
    this.generatorCpu = process.cpuUsage();
    this.startedAtMs = performance.now();
  }

  /** Ends now, after `count` units. */
  finish(name: string, unit: Phase['unit'], count: number): Phase {
    const seconds = (performance.now() - this.startedAtMs) / 1000;
    const pid = this.brokerPid;
    const brokerCpuSeconds = pid === null ? null : readCpuSeconds(pid) - this.brokerCpuSeconds;
    const generatorCpu = process.cpuUsage(this.generatorCpu);
    const generatorCpuSeconds = (generatorCpu.user + generatorCpu.system) / 1e6;
    const brokerRssBytes = pid === null ? null : readRssBytes(pid);
    return { name, unit, count, seconds, brokerCpuSeconds, generatorCpuSeconds, brokerRssBytes };
  }
}
