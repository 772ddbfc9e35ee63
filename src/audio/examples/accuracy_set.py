"""Makes the music with known tempo and key that the example `accuracy` is measured on.

Usage: python3 accuracy_set.py DIRECTORY, then cargo run --release -p greenroom-audio --example accuracy -- DIRECTORY/truth.tsv
Needs from apt: mma fluidsynth timgm6mb-soundfont fretsonfire-songs-sectoid sonic-pi-samples ffmpeg
Each line of truth.tsv: file, tempo in BPM or -, key or -, seconds wanted from the middle or -.
"""

import pathlib
import subprocess
import sys

MAJORS = "C Db D Eb E F F# G Ab A Bb B".split()
MINORS = "C C# D D# E F F# G G# A Bb B".split()
GROOVES = "8Beat BasicRock BossaNova Ballad FolkRock CountryBlues Swing March 60sRock Foxtrot Rhumba EasySwing".split()
TEMPI = [72, 80, 88, 92, 100, 105, 112, 120, 126, 132, 140, 148]
# Semitones above the tonic and kind of chord, one a bar.
MAJOR_PROGRESSIONS = [
    [(0, ""), (9, "m"), (5, ""), (7, "7")],
    [(0, ""), (5, ""), (7, ""), (0, "")],
    [(0, "M7"), (2, "m7"), (7, "7"), (0, "6")],
    [(0, ""), (7, ""), (9, "m"), (5, "")],
    [(9, "m"), (5, ""), (0, ""), (7, "")],
]
MINOR_PROGRESSIONS = [
    [(0, "m"), (8, ""), (3, ""), (10, "")],
    [(0, "m"), (5, "m"), (7, "7"), (0, "m")],
    [(0, "m"), (10, ""), (8, ""), (7, "")],
    [(0, "m7"), (5, "m7"), (0, "m7"), (7, "m7")],
    [(0, "m"), (3, ""), (5, "m"), (7, "7")],
]
NAMES = "C Db D Eb E F Gb G Ab A Bb B".split()
SONGS = {"Escape from chaosland": 135, "Feelings": 95, "Metal madness": 150, "War of freedom": 140}
SONGS_ROOT = pathlib.Path("/usr/share/games/fretsonfire/data/songs/sectoid")
LOOPS_ROOT = pathlib.Path("/usr/share/sonic-pi/samples")
# Loops whose length is a whole number of beats: beats in the file.
LOOPS = {"loop_amen": 4, "loop_amen_full": 16, "loop_breakbeat": 4, "loop_compus": 16, "loop_garzul": 16,
         "loop_industrial": 2, "loop_mika": 16, "loop_safari": 16, "loop_tabla": 16, "loop_mehackit1": 4,
         "loop_mehackit2": 4, "loop_perc1": 4, "loop_perc2": 4, "loop_weirdo": 8, "loop_electric": 4,
         "loop_3d_printer": 16}


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def backing_track(directory, index, tonic, minor):
    tempo, groove = TEMPI[(index * 5) % len(TEMPI)], GROOVES[index % len(GROOVES)]
    progressions = MINOR_PROGRESSIONS if minor else MAJOR_PROGRESSIONS
    bars = progressions[index % len(progressions)] * 6
    key = f"{(MINORS if minor else MAJORS)[tonic]} {'minor' if minor else 'major'}"
    stem = f"{index:02}-{groove}-{tempo}-{key.replace(' ', '-').replace('#', 's')}"
    source = directory / f"{stem}.mma"
    chords = [NAMES[(tonic + step) % 12] + kind for step, kind in bars]
    source.write_text("\n".join([f"Tempo {tempo}", f"Groove {groove}", *chords, ""]))
    midi, wav = source.with_suffix(".mid"), source.with_suffix(".wav")
    run("mma", "-f", str(midi), str(source))
    run("fluidsynth", "-ni", "-g", "0.6", "-r", "44100", "-F", str(wav), "/usr/share/sounds/sf2/TimGM6mb.sf2", str(midi))
    return f"{wav}\t{tempo}\t{key}"


def song(directory, name, tempo):
    wav = directory / f"{name.replace(' ', '-')}.wav"
    tracks = [SONGS_ROOT / name / part for part in ("song.ogg", "guitar.ogg")]
    run("ffmpeg", "-y", "-i", str(tracks[0]), "-i", str(tracks[1]), "-filter_complex",
        "amix=inputs=2:normalize=0,volume=0.7", "-ar", "44100", str(wav))
    return f"{wav}\t{tempo}\t-"


def loop(directory, name, beats):
    """A loop played for 40 s, as a looping player would."""
    source = LOOPS_ROOT / f"{name}.flac"
    probe = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(source)],
                           check=True, capture_output=True, text=True)
    seconds = float(probe.stdout)
    wav = directory / f"{name}.wav"
    run("ffmpeg", "-y", "-stream_loop", str(int(40 / seconds) + 1), "-i", str(source), "-t", "40", str(wav))
    return f"{wav}\t{60 * beats / seconds:.2f}\t-"


def main():
    directory = pathlib.Path(sys.argv[1]).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    lines = [song(directory, name, tempo) for name, tempo in SONGS.items()]
    lines += [loop(directory, name, beats) for name, beats in LOOPS.items()]
    for index in range(48):
        lines.append(backing_track(directory, index, (index * 7) % 12, index % 24 >= 12))
    (directory / "truth.tsv").write_text("\n".join(lines) + "\n")


main()
