import type { WriteStream } from 'node:tty';

const frameMs = 50;

/** Lines on a terminal that are drawn over and over in the same place. */
export class LiveView {
  private readonly terminal: WriteStream;
  private readonly render: (rows: number, columns: number) => readonly string[];
  private drawn = 0;
  private timer: NodeJS.Timeout | null = null;

  constructor(terminal: WriteStream, render: (rows: number, columns: number) => readonly string[]) {
    this.terminal = terminal;
    this.render = render;
  }

  /** Something has changed: draws soon. */
  update(): void {
    this.timer ??= setTimeout(() => this.draw(), frameMs);
  }

  /** Draws for the last time. */
  end(): void {
    this.draw();
  }

  private draw(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    // A terminal may say that it has no size.
    const rows = this.terminal.rows || 24;
    const columns = this.terminal.columns || 80;
    // One line less than there is room for: the cursor stands below.
    const lines = this.render(rows, columns).slice(0, Math.max(1, rows - 1));
    const up = this.drawn > 0 ? `\x1b[${this.drawn}A` : '';
    this.terminal.write(`${up}\r\x1b[J${lines.join('\n')}\n`);
    this.drawn = lines.length;
  }
}
