"""Runs in the `bpy` module of one Blender version: installs the built zip, plays every scenario on a live service.

    python tests/bpy/inside.py ZIP REPORT.json

Needs BLENDER_USER_RESOURCES (an empty folder) and DREAMLIFT_HOME (of a running tests/fakes/growing.py). Timers never
run without a window, so `wait` calls the pump's tick. Writes {scenario: "" or the trace} into the report.
"""

import inspect
import json
import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from in_blender import (  # noqa: E402
    NAME,
    Said,
    app,
    cut_out_picture,
    install,
    live_object,
    newest_job,
    other_threads,
    part,
    picture_file,
    running,
    shown,
    triangles,
    unfinished_jobs,
)

SAID = Said(logging.WARNING)


def wait(condition, seconds=45.0, what="it"):
    """Tick like Blender's timer would until the condition holds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        part("pump").tick(app())
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in {seconds} s; {shown()}")


def online():
    wait(lambda: app().snapshot.can_generate, what="the connection")


def fresh_file():
    bpy.ops.wm.read_homefile(use_empty=True)
    online()


def generate(prompt, **fields):
    """Press the button; returns the job once it is accepted."""
    scene = bpy.context.scene.dreamlift
    scene.prompt = prompt
    for name, value in fields.items():
        setattr(scene, name, value)
    assert bpy.ops.dreamlift.generate() == {"FINISHED"}
    job = newest_job()
    wait(lambda: job.id, what="acceptance")
    return job


def grown(job):
    return triangles(job) > 0


def end(job):
    """Cancel it, so that the next scenario has the worker."""
    if not job.state.is_terminal:
        bpy.ops.dreamlift.command(job_id=job.id, command="CANCEL")
    wait(lambda: job.state.is_terminal, what="the end")


def free_the_worker():
    """After a failed scenario: its jobs must not hold up the next one."""
    for job in unfinished_jobs():
        end(job)


def preview_seeds(prompt, **fields):
    """Press Preview Seeds; returns the preview."""
    scene = bpy.context.scene.dreamlift
    scene.prompt = prompt
    for name, value in fields.items():
        setattr(scene, name, value)
    assert bpy.ops.dreamlift.preview_seeds() == {"FINISHED"}
    return app().session.preview


def all_shown():
    """Whether every seed has its four pictures in the panel."""
    shown, preview = app().snapshot.seeds, app().session.preview
    if shown is None or tuple(seed for seed, _ in shown.rows) != preview.job.request.seeds:
        return False  # the panel still draws the one before
    return all(len(icons) == 4 for _, icons in shown.rows)


def no_preview_on_the_server():
    return not [job for job in app().session.book if job.is_preview]


def drop(path):
    """Drop an image file as Blender does; returns the picture once its subject is known."""
    folder, name = os.path.split(path)
    assert bpy.ops.dreamlift.drop_image(directory=folder + os.sep, files=[{"name": name}]) == {"FINISHED"}
    wait(lambda: app().session.picture is not None and app().session.picture.name == name, what="the reading")
    wait(cut_out_picture, what="the cut-out")
    wait(lambda: not app().snapshot.needs and app().snapshot.picture.is_cut, what="the panel's word of it")
    return app().session.picture


# -- scenarios -------------------------------------------------------------------------------------


def it_enables_and_disables_twice_without_a_trace():
    import addon_utils

    lists = ("undo_post", "redo_post", "load_pre", "load_post", "save_pre")

    def ours():
        file_handlers = [each for each in bpy.types.FileHandler.__subclasses__() if NAME in each.__module__]
        drops = [each.bl_idname for each in file_handlers if each.is_registered]
        handlers = [
            f for name in lists for f in getattr(bpy.app.handlers, name) if NAME in getattr(f, "__module__", "")
        ]
        classes = [name for name in dir(bpy.types) if "dreamlift" in name.lower()]
        owners = [owner for owner in (bpy.types.Scene, bpy.types.WindowManager) if hasattr(owner, "dreamlift")]
        timers = [bpy.app.timers.is_registered(part("pump").timer)]
        return handlers, classes + drops, owners, timers

    for _ in range(2):
        handlers, _, owners, timers = ours()
        assert len(handlers) == 5 and len(owners) == 2 and timers == [True], ours()
        assert "DREAMLIFT_FH_image" in ours()[1], ours()
        addon_utils.disable(NAME)
        assert ours() == ([], [], [], [False]), ours()
        assert app() is None
        addon_utils.enable(NAME)


def registering_twice_is_refused_and_harmless():
    registration = part("registration")
    try:
        registration.register()
    except RuntimeError as error:
        assert "registered already" in str(error)
    else:
        raise AssertionError("a second register went through")
    assert app() is not None


def nothing_connects_while_online_access_is_off():
    online()
    bpy.context.preferences.system.use_online_access = False
    part("pump").tick(app())
    wait(lambda: app().snapshot.card is not None and "online access" in app().snapshot.card.title, what="the card")
    assert not app().snapshot.can_generate
    assert app().session.connection._socket is None
    bpy.context.preferences.system.use_online_access = True
    online()


def the_panel_offers_what_the_server_has():
    fresh_file()
    shown = app().snapshot
    assert [preset.name for preset in shown.presets][0] == "mini", shown.presets
    wanted = {setting.key for setting in shown.settings}
    fields = bpy.context.scene.dreamlift
    wait(lambda: wanted and {item.name for item in fields.settings} == wanted, what="the settings")
    item = bpy.context.scene.dreamlift.settings["steps"]
    assert item.whole == shown.settings[0].defaults["mini"]
    item.whole = -5
    assert item.whole == shown.settings[0].low, "a value outside the server's range stays in it"
    bpy.ops.dreamlift.choose(pipeline="mvdream", preset="full")
    wait(lambda: fields.settings["steps"].whole == 10000, what="the other preset")


def copied_settings_are_the_jobs_also_from_another_preset():
    fresh_file()
    fields = bpy.context.scene.dreamlift
    wait(lambda: "steps" in fields.settings, what="the settings")
    fields.settings["steps"].whole = 123
    job = generate("a red mushroom in 20 s", size=2.0)
    bpy.ops.dreamlift.choose(pipeline="mvdream", preset="full")
    wait(lambda: fields.settings["steps"].whole == 10000, what="the other preset")
    fields.size, fields.prompt = 1.0, ""
    bpy.ops.dreamlift.copy_settings(job_id=job.id)
    for _ in range(2):  # at once, and still after the panel was renewed
        assert (fields.preset, fields.settings["steps"].whole, fields.size) == ("mini", 123, 2.0)
        assert fields.prompt == job.request.prompt and fields.keep_seed and fields.seed == job.request.seed
        wait(lambda: app().snapshot.preset == "mini", what="the preset")
    fields.keep_seed = False
    end(job)


def an_object_grows_at_the_cursor_and_is_committed():
    fresh_file()
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_cube_add(location=(5, 5, 0))
    cube = bpy.context.object
    scene.cursor.location = (1, 2, 3)
    job = generate("a red mushroom in 4 s", size=2.0)
    wait(lambda: grown(job), what="the first mesh")
    found = live_object(job)
    assert tuple(found.location) == (1, 2, 3)
    assert [c.name for c in found.users_collection] == ["Dreamlift"]
    assert bpy.context.view_layer.objects.active == cube and cube.select_get() and not found.select_get()
    assert abs(max(found.dimensions) - 2.0) < 1e-4, found.dimensions[:]
    assert found.data.materials[0].name == "Dreamlift Preview"
    assert not found.data.validate()
    first = len(found.data.polygons)
    wait(lambda: len(live_object(job).data.polygons) not in (0, first), what="growth")
    found.location.x = 7
    uid = found.session_uid
    wait(lambda: job.committed, what="the commit")
    found = live_object(job)
    assert found.session_uid == uid and found.location.x == 7, "the artist's transform stays"
    assert found.name == "Red mushroom in 4 s"
    material = found.data.materials[0]
    image = next(node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert image.packed_file is not None and image.colorspace_settings.name == "sRGB"
    assert tuple(image.size) == (64, 64)
    assert found["dreamlift_prompt"] == "a red mushroom in 4 s" and found["dreamlift_licence"] == "CC0-1.0"
    assert abs(max(found.dimensions) - 2.0) < 1e-4 and min(v.co.z for v in found.data.vertices) > -1e-5
    # The scripted object has a nose at its front: Blender's front view looks along +y.
    vertices = [vertex.co for vertex in found.data.vertices]
    assert abs(min(vertices, key=lambda co: co.y).x) < 0.05, "the nose looks along -y"
    assert sum(co.y for co in vertices) / len(vertices) > 0.02, "so the body lies behind the middle"
    assert not found.data.validate()
    assert "UVMap" in found.data.uv_layers
    assert bpy.context.view_layer.objects.active == cube and not found.select_get()
    assert bpy.ops.dreamlift.mark_asset(job_id=job.id) == {"FINISHED"} and found.asset_data.description


def preview_and_result_stand_alike():
    fresh_file()
    job = generate("a red mushroom in 3 s")
    wait(lambda: grown(job) and job.fraction > 0.3, what="a late preview")
    before = [tuple(round(x, 2) for x in corner) for corner in live_object(job).bound_box]
    wait(lambda: job.committed, what="the commit")
    after = [tuple(corner) for corner in live_object(job).bound_box]
    assert all(abs(a - b) < 0.3 for p, q in zip(before, after, strict=True) for a, b in zip(p, q, strict=True))


def cancel_takes_the_half_made_object_away():
    fresh_file()
    job = generate("a red mushroom in 30 s")
    wait(lambda: grown(job), what="the first mesh")
    end(job)
    assert job.state.value == "cancelled"
    wait(lambda: live_object(job) is None, what="the removal")


def use_now_gives_a_finished_object():
    fresh_file()
    job = generate("a red mushroom in 60 s")
    wait(lambda: grown(job), what="the first mesh")
    bpy.ops.dreamlift.command(job_id=job.id, command="FINISH")
    wait(lambda: job.committed, what="the commit")


def pause_and_resume_go_on_from_there():
    fresh_file()
    job = generate("a red mushroom in 6 s")
    wait(lambda: grown(job), what="the first mesh")
    bpy.ops.dreamlift.command(job_id=job.id, command="PAUSE")
    wait(lambda: job.state.value == "paused", what="the pause")
    wait(lambda: app().snapshot.rows[0].can_resume, what="the offer")
    bpy.ops.dreamlift.command(job_id=job.id, command="RESUME")
    wait(lambda: job.committed, what="the commit")


def edit_mode_holds_the_object_and_says_so():
    fresh_file()
    job = generate("a red mushroom in 30 s")
    wait(lambda: grown(job), what="the first mesh")
    bpy.context.view_layer.objects.active = live_object(job)
    bpy.ops.object.mode_set(mode="EDIT")
    wait(lambda: running("hold") == "Held while you edit it", what="the message")
    count = len(live_object(job).data.polygons)
    bpy.ops.object.mode_set(mode="OBJECT")
    wait(lambda: running("hold") == "", what="going on")
    wait(lambda: len(live_object(job).data.polygons) != count, what="growth")
    end(job)


def a_deleted_object_can_be_put_back():
    fresh_file()
    job = generate("a red mushroom in 30 s")
    wait(lambda: grown(job), what="the first mesh")
    bpy.data.objects.remove(live_object(job))
    wait(lambda: running("can_put_back"), what="the offer")
    assert live_object(job) is None
    bpy.ops.dreamlift.put_back(job_id=job.id)
    assert grown(job), "it comes back with its last geometry"
    wait(lambda: running("can_put_back") is False, what="going on")
    end(job)


def deleted_when_it_ends_it_can_still_be_had():
    fresh_file()
    job = generate("a red mushroom in 4 s")
    wait(lambda: grown(job), what="the first mesh")
    bpy.data.objects.remove(live_object(job))
    wait(lambda: job.state.value == "finished" and app().snapshot.rows[0].can_place, what="the offer")
    assert live_object(job) is None
    bpy.ops.dreamlift.put_back(job_id=job.id)
    wait(lambda: job.committed and grown(job), what="the commit")


def a_file_saved_while_it_streams_finds_its_job_again(folder):
    fresh_file()
    job = generate("a red mushroom in 8 s")
    wait(lambda: grown(job), what="the first mesh")
    live_object(job).location = (0, 0, 9)
    path = str(folder / "streaming.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    job_id = job.id
    fresh_file()
    wait(lambda: app().session.book.get(job_id) is not None, what="the list")
    assert not app().session.book.get(job_id).here and live_object(job) is None
    bpy.ops.wm.open_mainfile(filepath=path)
    job = app().session.book.get(job_id)
    assert job is not None and job.here
    count = len(live_object(job).data.polygons)
    wait(lambda: job.committed or len(live_object(job).data.polygons) != count, what="growth after loading")
    wait(lambda: job.committed, what="the commit")
    assert live_object(job).location.z == 9
    carriers = [each for each in bpy.data.objects if each.get("dreamlift_job") == job_id]
    assert len(carriers) == 1, "no second object was made"
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    assert app().session.book.get(job_id).committed, "a finished job is not committed twice"


def a_job_that_ends_while_the_file_is_closed_is_committed_when_it_opens(folder):
    fresh_file()
    job = generate("a red mushroom in 3 s")
    wait(lambda: grown(job), what="the first mesh")
    path = str(folder / "closed.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    fresh_file()
    known = app().session.book
    wait(lambda: known.get(job.id) is not None and known.get(job.id).state.value == "finished", 30, "the end elsewhere")
    bpy.ops.wm.open_mainfile(filepath=path)
    wait(lambda: known.get(job.id).committed, what="the commit")
    assert live_object(job).data.materials[0].name != "Dreamlift Preview"


def a_failed_job_shows_its_error_and_retries_with_the_suggestion():
    fresh_file()
    job = generate("a thing that fails")
    wait(lambda: job.state.value == "failed" and app().snapshot.rows[0].problem, what="the failure")
    card = app().snapshot.rows[0].problem
    assert card.title == "Out of memory" and card.buttons[0].text == "Retry with texture size 512", card
    bpy.ops.dreamlift.again(**card.buttons[0].values)
    again = newest_job()
    assert again.request.settings == {"texture_size": 512}
    wait(lambda: again.state is not None and again.state.value == "failed", what="the second failure")
    bpy.ops.dreamlift.command(job_id=job.id, command="REMOVE")
    wait(lambda: job.id not in [row.job_id for row in app().snapshot.rows], what="the removal")


def two_jobs_wait_their_turn_and_both_end():
    fresh_file()
    first, second = generate("a red mushroom in 2 s"), generate("another mushroom in 2 s")
    assert first.id != second.id and first.request.seed != second.request.seed
    wait(lambda: first.committed and second.committed, 40, "both commits")
    assert live_object(first) is not live_object(second)


def seeds_are_looked_at_and_one_of_them_starts_the_job():
    fresh_file()
    before = [len(bpy.data.objects), len(bpy.data.images), len(bpy.data.meshes)]
    preview = preview_seeds("a red mushroom in 4 s", keep_seed=True, seed=77)
    seeds = preview.job.request.seeds
    assert seeds[0] == 77 and len(set(seeds)) == 4, seeds
    wait(all_shown, what="the first pictures")
    assert not preview.complete and app().snapshot.running is None
    assert preview.job.id not in [row.job_id for row in app().snapshot.rows]
    first = preview.pictures[77].copy()
    wait(lambda: preview.complete and app().snapshot.seeds.line == "", what="the finished pictures")
    assert (preview.pictures[77] != first).any(), "they got clearer"
    assert [len(bpy.data.objects), len(bpy.data.images), len(bpy.data.meshes)] == before
    wait(no_preview_on_the_server, what="its removal from the server")
    bpy.context.scene.dreamlift.prompt = "something else"
    chosen = seeds[2]
    assert bpy.ops.dreamlift.use_seed(seed=chosen) == {"FINISHED"}
    job = newest_job()
    request, fields = job.request, bpy.context.scene.dreamlift
    assert (request.goal, request.seed, request.prompt) == ("object", chosen, "a red mushroom in 4 s"), request
    assert fields.seed == chosen and fields.keep_seed
    wait(lambda: job.committed, what="the commit")
    assert str(live_object(job)["dreamlift_seed"]) == str(chosen)
    assert app().snapshot.seeds is not None, "another one can be chosen"
    bpy.ops.dreamlift.drop_preview()
    wait(lambda: app().snapshot.seeds is None and not app().seed_icons, what="the end of the pictures")
    assert bpy.ops.dreamlift.use_seed(seed=chosen) == {"CANCELLED"}


def a_seed_chosen_while_the_pictures_form_does_not_wait_for_them():
    fresh_file()
    preview = preview_seeds("a red mushroom in 40 s", keep_seed=False)
    wait(all_shown, what="the first pictures")
    chosen = preview.job.request.seeds[1]
    bpy.ops.dreamlift.use_seed(seed=chosen)
    job = newest_job()
    wait(lambda: preview.complete, 15, "the pictures as they are")
    wait(lambda: grown(job), 15, "the object")
    end(job)
    bpy.ops.dreamlift.drop_preview()


def a_preview_is_cancelled_by_closing_it():
    fresh_file()
    preview = preview_seeds("a red mushroom in 40 s")
    wait(all_shown, what="the first pictures")
    bpy.ops.dreamlift.drop_preview()
    wait(no_preview_on_the_server, 15, "the end on the server")
    assert preview.job.state.value == "cancelled", preview.job.state


def a_preview_that_fails_says_so_in_its_box():
    fresh_file()
    preview_seeds("a thing that fails")
    wait(lambda: app().snapshot.seeds and app().snapshot.seeds.problem, what="the failure")
    assert app().snapshot.seeds.problem.title == "Out of memory"
    assert preview_seeds("a red mushroom in 40 s").job.problem is None, "the next one takes its place"
    wait(all_shown, what="its pictures")
    fresh_file()
    wait(lambda: app().snapshot.seeds is None, what="another file has none")
    wait(no_preview_on_the_server, 15, "the end on the server")


def an_image_is_dropped_cut_out_and_becomes_an_object(folder):
    fresh_file()
    fields = bpy.context.scene.dreamlift
    assert app().snapshot.sources == ("TEXT", "IMAGE"), app().snapshot.sources
    assert not bpy.ops.dreamlift.generate.poll(), "neither words nor an image"
    picture = drop(picture_file(folder / "yellow ball é.png"))
    assert fields.source == "IMAGE" and app().snapshot.pipeline == "imagedream"
    assert picture.size == (320, 320) and picture.method and app().snapshot.picture.line, picture.method
    shown = picture.shown()
    assert max(shown.shape[:2]) < 256 and tuple(shown[55, shown.shape[1] // 2]) != tuple(shown[2, 2])
    wait(lambda: app().snapshot.picture.icon == app().picture_icon, what="the panel's picture")
    fields.prompt = ""
    job = generate("")
    assert job.name == "Yellow ball é" and set(job.request.images) == {"reference"}
    wait(lambda: grown(job), what="the first mesh")
    colour = live_object(job).data.color_attributes[0].data[0].color
    assert colour[0] > 1.5 * colour[2], "the cap has the ball's colour"
    wait(lambda: job.committed, what="the commit")
    fields.source = "TEXT"
    bpy.ops.dreamlift.copy_settings(job_id=job.id)
    assert fields.source == "IMAGE"
    bpy.ops.dreamlift.again(job_id=job.id, new_seed=True)
    again = newest_job()
    assert again.request.images == job.request.images and again.request.seed != job.request.seed
    wait(lambda: again.committed, what="the variation")


def a_picture_of_another_kind_is_encoded_by_blender_and_a_broken_one_says_so(folder):
    fresh_file()
    fields = bpy.context.scene.dreamlift
    made = bpy.data.images.new("Painted", 1500, 30)
    made.pixels.foreach_set([0.5] * (1500 * 30 * 4))
    fields.source, fields.picture = "IMAGE", made
    assert fields.picture != made and fields.picture.packed_file and tuple(fields.picture.size) == (1024, 20)
    assert tuple(made.size) == (1500, 30), "the artist's image stays as it is"
    broken = folder / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    bpy.ops.dreamlift.drop_image(filepath=str(broken))
    wait(lambda: app().snapshot.picture and app().snapshot.picture.problem, what="the refusal")
    assert app().snapshot.needs and not bpy.ops.dreamlift.generate.poll()
    assert app().snapshot.picture.problem.buttons[0].operator == "dreamlift.read_image_again"
    picture_file(broken)
    bpy.ops.dreamlift.read_image_again()
    wait(lambda: cut_out_picture() and not app().snapshot.needs, what="the mended file")
    broken.unlink()
    try:
        bpy.ops.dreamlift.drop_image(filepath=str(broken))
    except RuntimeError as error:
        assert "is not a file" in str(error)
    else:
        raise AssertionError("a file that is gone was taken")


def the_mask_is_painted_and_used_and_survives_saving(folder):
    fresh_file()
    fields = bpy.context.scene.dreamlift
    picture = drop(picture_file(folder / "marked.png"))
    before = picture._cut[..., 3].copy()
    assert bpy.ops.dreamlift.edit_mask() == {"FINISHED"}
    wait(lambda: app().snapshot.needs == "Press Use Mask first", what="the panel's word of it")
    canvas = fields.canvas
    pixels = [1.0] * (320 * 320 * 4)
    canvas.pixels.foreach_get(pixels)
    for y in range(20):  # Blender's first row is the bottom
        for x in range(40):
            pixels[(y * 320 + x) * 4 : (y * 320 + x) * 4 + 3] = (1, 1, 1)
    for y in range(150, 170):
        for x in range(150, 170):
            pixels[(y * 320 + x) * 4 : (y * 320 + x) * 4 + 3] = (0, 0, 0)
    canvas.pixels.foreach_set(pixels)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "painting.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(folder / "painting.blend"))
    fields = bpy.context.scene.dreamlift
    wait(cut_out_picture, what="the cut-out after loading")
    assert bpy.ops.dreamlift.use_mask() == {"FINISHED"} and fields.canvas is None and fields.mask is not None
    picture = app().session.picture
    wait(lambda: picture.mask is not None, what="the mask")
    after = picture._cut[..., 3]
    assert (after[-20:, :40] == 255).all() and (after[150:170, 150:170] == 0).all(), "kept and dropped as painted"
    untouched = after.copy()
    untouched[-20:, :40], untouched[150:170, 150:170] = before[-20:, :40], before[150:170, 150:170]
    assert (untouched != before).mean() < 0.002, "nothing else changed"
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "painting.blend"))
    fresh_file()
    wait(lambda: app().session.picture is None, what="the other file's panel")
    bpy.ops.wm.open_mainfile(filepath=str(folder / "painting.blend"))
    wait(lambda: app().session.picture and app().session.picture.mask is not None, what="the mask after loading")
    assert (app().session.picture._cut[..., 3] == after).all()
    bpy.ops.dreamlift.drop_mask()
    wait(lambda: app().session.picture.mask is None and (app().session.picture._cut[..., 3] == before).all())


def the_threshold_asks_the_backend_again(folder):
    fresh_file()
    picture = drop(picture_file(folder / "threshold.png"))
    asked = []
    session = app().session
    cut_out, session.cut_out = session.cut_out, lambda each: (asked.append(each._wanted), cut_out(each))
    try:
        for value in (0.6, 0.7, 0.8):
            bpy.context.scene.dreamlift.threshold = value
            part("pump").tick(app())
        wait(lambda: asked and not picture.asked, what="the answer")
    finally:
        session.cut_out = cut_out
    assert len(asked) == 1 and abs(asked[0] - 0.8) < 1e-6, asked


def without_cutting_out_the_file_itself_is_sent(folder):
    import hashlib

    fresh_file()
    path = picture_file(folder / "as it is.png")
    fields = bpy.context.scene.dreamlift
    fields.cut_out = False
    bpy.context.window_manager.clipboard = f"file://{path.replace(' ', '%20')}"
    if bpy.context.window_manager.clipboard:
        assert bpy.ops.dreamlift.paste_image() == {"FINISHED"}
    else:  # a Blender without a window has no clipboard
        bpy.ops.dreamlift.choose_image(filepath=path)
    wait(lambda: app().session.picture and app().session.picture.source and not app().snapshot.needs, what="reading")
    job = generate("a ball in 2 s")
    data = Path(path).read_bytes()
    assert job.request.images == {"reference": hashlib.sha256(data).hexdigest()}
    wait(lambda: job.committed, what="the commit")


def a_tick_with_a_large_picture_stays_short(folder):
    import numpy as np

    fresh_file()
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 4), np.uint8)
    noise[..., 3] = 255
    noise[:100] = 0
    path = folder / "large.png"
    path.write_bytes(part("jobs.png").PngEncoder(noise).result()[0])
    pump = part("pump")
    bpy.ops.dreamlift.drop_image(filepath=str(path))
    slowest, until = 0.0, time.monotonic() + 60
    while time.monotonic() < until and not (cut_out_picture() and cut_out_picture()._upload):
        began = time.thread_time()
        pump.tick(app())
        slowest = max(slowest, time.thread_time() - began)
        time.sleep(0.01)
    assert cut_out_picture()._upload, "it was cut out and encoded"
    print(f"slowest tick {slowest * 1000:.1f} ms", flush=True)
    bpy.context.scene.dreamlift.source = "TEXT"
    wait(lambda: app().session.picture is None, what="the panel without it")


def a_tick_that_fails_is_logged_and_the_next_one_goes_on():
    fresh_file()
    session, app().session = app().session, None  # as a bug could leave it
    pause = part("pump").timer()
    app().session = session
    assert pause == part("pump").FAILED_SECONDS and "a tick failed" in SAID.records.pop()
    assert part("pump").timer() < pause
    online()


def no_python_thread_is_started():
    assert not other_threads(), other_threads()


def nothing_was_warned_about():
    assert not SAID.records, SAID.records


HELPERS = {free_the_worker, wait, online, fresh_file, generate, grown, end}
HELPERS |= {preview_seeds, all_shown, no_preview_on_the_server, drop}
SCENARIOS = [
    each
    for each in list(globals().values())
    if inspect.isfunction(each) and each.__module__ == __name__ and each not in HELPERS
]


def main():
    zip_path, report = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    bpy.context.preferences.system.use_online_access = True
    results = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        install(zip_path)
    assert NAME in bpy.context.preferences.addons, "the extension was not enabled"
    ours = [str(each.message) for each in caught if "dreamlift" in str(each.filename)]
    assert not ours, ours
    folder = Path(report).parent
    chosen = os.environ.get("DREAMLIFT_TEST_ONLY", "").split(",")
    for scenario in SCENARIOS:
        if not any(word in scenario.__name__ for word in chosen):
            continue
        started = time.monotonic()
        try:
            scenario(folder) if scenario.__code__.co_argcount else scenario()
            results[scenario.__name__] = ""
        except Exception:
            results[scenario.__name__] = traceback.format_exc()
            free_the_worker()
        print(f"{scenario.__name__} {time.monotonic() - started:.1f} s", results[scenario.__name__], flush=True)
        Path(report).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
