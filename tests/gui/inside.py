"""Runs in a Blender with a window: installs the built zip and plays every scenario, driven by a timer.

    blender --factory-startup --python tests/gui/inside.py -- ZIP FOLDER

A scenario is a generator; it yields to let Blender live. What it cannot do itself (pictures of the screen, killing the
server) it asks of the process outside with a file in FOLDER: ask.json, taken away when done. Ends with report.json.
"""

import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from in_blender import (  # noqa: E402
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

ZIP, FOLDER = sys.argv[sys.argv.index("--") + 1 :][:2]
FOLDER = Path(FOLDER)
REPORT = {}
SAID = Said(logging.ERROR)


def until(condition, seconds=60.0, what="it"):
    """Let Blender live until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in {seconds} s; {shown()}")
        yield


def pause(seconds):
    end = time.monotonic() + seconds
    yield from until(lambda: time.monotonic() > end, seconds + 5)


def ask(**wish):
    """Something only the process outside can do; waits until it is done."""
    path = FOLDER / "ask.json"
    unfinished = FOLDER / "ask.new"
    unfinished.write_text(json.dumps(wish))
    os.replace(unfinished, path)
    yield from until(lambda: not path.exists(), 60, f"the outside's {wish}")


def shot(name):
    yield from pause(2.5)  # panels glide to their new heights
    yield from ask(do="shot", name=name)


def window():
    return bpy.context.window_manager.windows[0]


def view3d():
    """What `temp_override` needs for operators of the 3D viewport."""
    area = next(area for area in window().screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    return {"window": window(), "area": area, "region": region}


def press(operator, **values):
    with bpy.context.temp_override(**view3d()):
        return operator(**values)


def show_sidebar():
    area = view3d()["area"]
    area.spaces[0].show_region_ui = True
    yield from pause(0.5)
    for region in area.regions:
        if region.type == "UI":
            region.active_panel_category = "Dreamlift"
            region.tag_redraw()
    yield from pause(0.3)


def online():
    yield from until(lambda: app().snapshot.can_generate, what="the connection")


def fresh_file():
    press(bpy.ops.wm.read_homefile, app_template="")
    yield from pause(0.3)
    yield from show_sidebar()
    yield from online()


def generate(prompt):
    fields = bpy.context.scene.dreamlift
    fields.prompt = prompt
    assert press(bpy.ops.dreamlift.generate) == {"FINISHED"}
    job = newest_job()
    yield from until(lambda: job.id, what="acceptance")
    return job


def first_mesh(job):
    yield from until(lambda: triangles(job) > 0, what="the first mesh")


def growth(job):
    count = triangles(job)
    yield from until(lambda: triangles(job) not in (0, count), what="growth")


def end(job):
    if not job.state.is_terminal:
        press(bpy.ops.dreamlift.command, job_id=job.id, command="CANCEL")
    yield from until(lambda: job.state.is_terminal, what="the end")


# -- scenarios, in this order ----------------------------------------------------------------------


def the_first_run_says_what_to_do():
    yield from show_sidebar()
    yield from until(lambda: app().snapshot.card and "online" in app().snapshot.card.title, what="the card")
    yield from shot("allow_online")
    bpy.context.preferences.system.use_online_access = True
    yield from until(lambda: app().snapshot.card and "Welcome" in app().snapshot.card.title, what="the card")
    yield from shot("first_run")


def the_backend_starts_with_one_button():
    part("preferences").get().command = os.environ["DREAMLIFT_TEST_COMMAND"]
    press(bpy.ops.dreamlift.start_backend)
    yield from pause(0.4)
    yield from shot("starting")
    yield from online()
    bpy.context.scene.dreamlift.prompt = "A red mushroom"
    yield from shot("ready")


def it_can_be_stopped_again():
    press(bpy.ops.dreamlift.stop_backend)
    yield from until(lambda: not app().snapshot.online, 60, what="the end of the connection")
    yield from ask(do="start server")
    yield from until(lambda: app().snapshot.can_generate, 90, what="the other server")


def an_object_grows_where_the_cursor_is():
    yield from fresh_file()
    bpy.context.scene.cursor.location = (1.5, -1, 0)
    cube = bpy.data.objects["Cube"]
    active, selected = bpy.context.view_layer.objects.active, cube.select_get()
    job = yield from generate("A red mushroom in 12 s")
    yield from first_mesh(job)
    yield from growth(job)
    yield from until(lambda: running("icons"), what="the views")
    yield from shot("running")
    assert tuple(live_object(job).location) == (1.5, -1, 0)
    assert bpy.context.view_layer.objects.active == active and cube.select_get() == selected
    yield from until(lambda: job.committed, 90, "the commit")
    yield from shot("finished")


def middle_of(region):
    """Where the mouse has to go for it: the screen's rows count from the top."""
    height = round(window().height)
    return {"x": region.x + region.width // 2, "y": height - (region.y + region.height // 2)}


def an_image_is_dropped_on_the_viewport_and_grows_into_an_object():
    yield from fresh_file()
    fields = bpy.context.scene.dreamlift
    fields.size = 3.0
    bpy.data.objects.remove(bpy.data.objects["Cube"])  # it stands where the object will
    path = picture_file(FOLDER / "yellow ball.png")
    yield from ask(do="drop", path=path, **middle_of(view3d()["region"]))
    yield from shot("image_dropped")
    yield from ask(do="press", key="Return")  # of Blender's menu: what is to be done with this file
    yield from until(lambda: fields.picture is not None, what="the drop")
    yield from until(cut_out_picture, what="the cut-out")
    press(bpy.ops.ed.undo)
    yield from until(lambda: app().session.picture is None, what="one undo step, which takes it away")
    press(bpy.ops.ed.redo)
    yield from until(cut_out_picture, what="the cut-out again")
    fields = bpy.context.scene.dreamlift
    yield from shot("image_cut_out")
    assert press(bpy.ops.dreamlift.edit_mask) == {"FINISHED"}
    yield from shot("image_mask")
    yield from paint()
    yield from shot("image_painted")
    before = app().session.picture._cut[..., 3].copy()
    assert press(bpy.ops.dreamlift.use_mask) == {"FINISHED"}
    picture = app().session.picture
    yield from until(lambda: picture.mask is not None and not app().snapshot.needs, what="the mask")
    assert (picture._cut[..., 3] != before).any(), "the stroke counts"
    assert len(bpy.context.window_manager.windows) == 1, "the window for painting is gone"
    yield from shot("image_masked")
    job = yield from generate("")
    assert job.name == "Yellow ball", job.name
    yield from first_mesh(job)
    yield from growth(job)
    yield from until(lambda: running("icons"), what="the views")
    yield from shot("image_growing")
    yield from until(lambda: job.committed, 90, "the commit")
    yield from shot("image_finished")


def paint():
    """A black stroke with the mouse, as Blender's brush starts, and after its key X a white one."""
    painting = bpy.context.window_manager.windows[-1]
    area = painting.screen.areas[0]
    region = next(each for each in area.regions if each.type == "WINDOW")
    left, top = painting.x + region.x, 900 - painting.y - region.y - region.height
    x, y = left + region.width // 2, top + region.height // 2
    yield from ask(do="stroke", points=[(x - 150 + 4 * k, y - 150) for k in range(20)])
    yield from ask(do="press", key="x")
    yield from ask(do="stroke", points=[(x, y - 30 + 4 * k) for k in range(30)])
    yield from pause(0.5)


def the_view_is_taken_as_an_image_and_stays_as_it_was():
    yield from fresh_file()
    fields = bpy.context.scene.dreamlift
    press(bpy.ops.mesh.primitive_monkey_add, location=(0, 0, 0))
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    space = view3d()["area"].spaces[0]
    press(bpy.ops.view3d.view_selected)
    yield from pause(1.0)
    space.overlay.show_floor = False
    before = [space.overlay.show_overlays, space.overlay.show_floor, space.show_gizmo, space.shading.type]
    selected = [each.name for each in bpy.context.selected_objects]
    assert press(bpy.ops.dreamlift.image_from_view) == {"FINISHED"}
    after = [space.overlay.show_overlays, space.overlay.show_floor, space.show_gizmo, space.shading.type]
    assert after == before and [each.name for each in bpy.context.selected_objects] == selected
    assert fields.source == "IMAGE" and fields.picture.packed_file is not None
    yield from until(lambda: cut_out_picture() and not app().snapshot.needs, what="the cut-out")
    picture = cut_out_picture()
    assert picture.method == "alpha" and max(picture.size) == 1024, (picture.method, picture.size)
    share = (picture._cut[..., 3] > 128).mean()
    assert 0.02 < share < 0.7 and picture._cut[512 * picture.size[1] // 1024, 512, 3] == 255, share
    yield from shot("image_from_view")


def a_path_is_pasted_and_undo_takes_the_image_away():
    yield from fresh_file()
    bpy.context.window_manager.clipboard = picture_file(FOLDER / "pasted ball.png")
    press(bpy.ops.ed.undo_push, message="Before")
    assert press(bpy.ops.dreamlift.paste_image) == {"FINISHED"}
    press(bpy.ops.ed.undo_push, message="Paste")
    yield from until(cut_out_picture, what="the cut-out")
    press(bpy.ops.ed.undo)
    yield from until(lambda: app().session.picture is None, what="the panel without it")
    press(bpy.ops.ed.redo)
    yield from until(cut_out_picture, what="its return")
    bpy.context.window_manager.clipboard = "no path at all"
    areas = [area.ui_type for area in window().screen.areas]
    assert press(bpy.ops.dreamlift.paste_image) == {"CANCELLED"}
    assert [area.ui_type for area in window().screen.areas] == areas, "the borrowed editor is given back"
    bpy.context.scene.dreamlift.source = "TEXT"
    yield


def seeds_are_looked_at_undo_leaves_them_and_one_starts_the_job():
    yield from fresh_file()
    fields = bpy.context.scene.dreamlift
    fields.prompt = "A red mushroom in 6 s"
    assert press(bpy.ops.dreamlift.preview_seeds) == {"FINISHED"}
    preview = app().session.preview

    def icons():
        shown = app().snapshot.seeds
        ours = shown is not None and tuple(seed for seed, _ in shown.rows) == preview.job.request.seeds
        return [icon for _, row in shown.rows for icon in row] if ours else []

    yield from until(lambda: len(icons()) == 16, what="the first pictures")
    assert len(set(icons())) == 16 and all(icons()), icons()
    assert not preview.complete
    yield from shot("seeds_forming")
    cube = bpy.data.objects["Cube"]
    for x in (4, 5):
        cube.location.x = x
        press(bpy.ops.ed.undo_push, message="Move the cube")
    press(bpy.ops.ed.undo)
    assert bpy.data.objects["Cube"].location.x == 4, "the artist's own undo works"
    yield from pause(0.5)
    assert app().session.preview is preview and len(icons()) == 16, "and leaves the pictures alone"
    yield from until(lambda: preview.complete and app().snapshot.seeds.line == "", what="the finished pictures")
    yield from shot("seeds")
    chosen = preview.job.request.seeds[2]
    assert press(bpy.ops.dreamlift.use_seed, seed=chosen) == {"FINISHED"}
    job = newest_job()
    yield from until(lambda: job.committed, 90, "the commit")
    assert job.request.seed == chosen and str(live_object(job)["dreamlift_seed"]) == str(chosen)
    yield from shot("seed_used")
    press(bpy.ops.dreamlift.drop_preview)
    yield from until(lambda: app().snapshot.seeds is None and not app().seed_icons, what="the end of the pictures")


def one_undo_step_takes_the_result_back_and_one_brings_it_again():
    yield from fresh_file()
    job = yield from generate("A red mushroom in 3 s")
    yield from until(lambda: job.committed, 90, "the commit")
    yield from pause(0.3)
    material = live_object(job).data.materials[0].name
    count = triangles(job)
    press(bpy.ops.ed.undo)
    yield from pause(0.3)
    assert live_object(job) is None or live_object(job).data.materials[0].name != material
    press(bpy.ops.ed.redo)
    yield from pause(0.3)
    assert triangles(job) == count and live_object(job).data.materials[0].name == material


def undo_while_it_streams_keeps_the_geometry():
    yield from fresh_file()
    job = yield from generate("A red mushroom in 20 s of 20000 triangles")
    yield from first_mesh(job)
    cube = bpy.data.objects["Cube"]
    cube.location.x = 4
    press(bpy.ops.ed.undo_push, message="Move the cube")
    cube.location.x = 5
    press(bpy.ops.ed.undo_push, message="Move it again")
    yield from growth(job)
    yield from growth(job)
    count, uid = triangles(job), live_object(job).session_uid
    press(bpy.ops.ed.undo)
    assert bpy.data.objects["Cube"].location.x == 4, "the artist's own undo works"
    assert triangles(job) >= count, f"the geometry fell back to {triangles(job)} from {count}"
    assert live_object(job).session_uid == uid
    press(bpy.ops.ed.redo)
    assert bpy.data.objects["Cube"].location.x == 5 and triangles(job) >= count
    yield from growth(job)
    yield from end(job)


def undo_past_its_creation_takes_it_away_and_redo_brings_it_back():
    yield from fresh_file()
    bpy.data.objects["Cube"].location.x = 4
    press(bpy.ops.ed.undo_push, message="Move the cube")
    job = yield from generate("A red mushroom in 25 s")
    yield from first_mesh(job)
    yield from pause(0.3)
    press(bpy.ops.ed.undo)
    assert live_object(job) is None
    yield from until(lambda: running("can_put_back"), what="the offer")
    yield from shot("deleted")
    press(bpy.ops.ed.redo)
    yield from until(lambda: running("can_put_back") is False, what="its return")
    yield from growth(job)
    yield from end(job)


def edit_mode_holds_it_and_says_so():
    yield from fresh_file()
    job = yield from generate("A red mushroom in 30 s")
    yield from first_mesh(job)
    bpy.context.view_layer.objects.active = live_object(job)
    press(bpy.ops.object.mode_set, mode="EDIT")
    yield from until(lambda: "edit" in (running("hold") or ""), what="the message")
    yield from shot("edit_mode")
    press(bpy.ops.object.mode_set, mode="OBJECT")
    yield from until(lambda: running("hold") == "", what="going on")
    yield from growth(job)
    yield from end(job)


def a_deleted_object_is_put_back_and_undo_of_the_deletion_works_too():
    yield from fresh_file()
    job = yield from generate("A red mushroom in 30 s")
    yield from first_mesh(job)
    for each in bpy.context.selected_objects:
        each.select_set(False)
    live_object(job).select_set(True)
    press(bpy.ops.object.delete)
    press(bpy.ops.ed.undo_push, message="Delete")
    yield from until(lambda: running("can_put_back"), what="the offer")
    press(bpy.ops.ed.undo)
    yield from until(lambda: triangles(job) and running("can_put_back") is False, what="its return by undo")
    press(bpy.ops.ed.redo)
    yield from until(lambda: running("can_put_back"), what="the offer again")
    press(bpy.ops.dreamlift.put_back, job_id=job.id)
    yield from until(lambda: triangles(job), what="its return by the button")
    yield from growth(job)
    yield from end(job)


def loading_a_file_while_it_streams_finds_the_job_again():
    yield from fresh_file()
    job = yield from generate("A red mushroom in 14 s")
    yield from first_mesh(job)
    path = str(FOLDER / "streaming.blend")
    press(bpy.ops.wm.save_as_mainfile, filepath=path)
    yield from fresh_file()
    assert live_object(job) is None
    yield from until(lambda: app().snapshot.running and not app().snapshot.running.is_here, what="the other file's job")
    press(bpy.ops.wm.open_mainfile, filepath=path)
    yield from until(lambda: triangles(job), what="its object")
    yield from growth(job)
    yield from until(lambda: job.committed, 90, "the commit")


def a_render_in_the_background_holds_it():
    yield from fresh_file()
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.render.resolution_percentage = 48, 30
    job = yield from generate("A red mushroom in 90 s")
    yield from first_mesh(job)
    with bpy.context.temp_override(**view3d()):
        bpy.ops.render.render("INVOKE_DEFAULT")
    yield from until(lambda: bpy.app.is_job_running("RENDER"), what="the render")
    yield from until(lambda: "renders" in (running("hold") or ""), what="the message")
    yield from until(lambda: not bpy.app.is_job_running("RENDER"), 120, what="the render's end")
    yield from growth(job)
    yield from end(job)


def cancel_takes_it_away():
    yield from fresh_file()
    job = yield from generate("A red mushroom in 30 s")
    yield from first_mesh(job)
    yield from end(job)
    yield from until(lambda: live_object(job) is None, what="the removal")
    yield from until(lambda: app().snapshot.running is None, what="the panel's end")
    yield from shot("cancelled")


def a_server_that_is_killed_and_comes_back_loses_nothing():
    yield from fresh_file()
    job = yield from generate("A red mushroom in 15 s")
    yield from first_mesh(job)
    yield from ask(do="kill server")
    yield from until(lambda: app().snapshot.card and "lost" in app().snapshot.card.title, 60, "the message")
    yield from shot("connection_lost")
    yield from ask(do="start server")
    yield from until(lambda: app().snapshot.card is None, 90, "the connection")
    yield from until(lambda: job.committed, 120, "the commit")
    assert [each.get("dreamlift_job") for each in bpy.data.objects].count(job.id) == 1


def an_error_stands_below_the_list_with_what_mends_it():
    yield from fresh_file()
    job = yield from generate("A thing that fails")
    yield from until(lambda: job.state and job.state.value == "failed", what="the failure")
    index = [row.job_id for row in app().snapshot.rows].index(job.id)
    bpy.context.window_manager.dreamlift.row_index = index
    yield from pause(0.5)
    yield from shot("error")


def the_preferences_show_servers_and_backend():
    with bpy.context.temp_override(window=window()):
        bpy.ops.dreamlift.show_servers()
    yield from pause(1.0)
    bpy.ops.dreamlift.test_server(name="This Computer")
    yield from until(lambda: app().session.tests["This Computer"].ok is not None, what="the test's answer")
    assert app().session.tests["This Computer"].ok, app().session.tests["This Computer"].text
    yield from pause(0.5)
    yield from shot("preferences")
    other = bpy.context.window_manager.windows[-1]
    with bpy.context.temp_override(window=other):
        bpy.ops.wm.window_close()
    yield


def no_python_thread_was_started_and_no_error_logged():
    yield
    assert not other_threads(), other_threads()
    assert not SAID.records, SAID.records


SCENARIOS = (
    the_first_run_says_what_to_do,
    the_backend_starts_with_one_button,
    it_can_be_stopped_again,
    an_object_grows_where_the_cursor_is,
    an_image_is_dropped_on_the_viewport_and_grows_into_an_object,
    the_view_is_taken_as_an_image_and_stays_as_it_was,
    a_path_is_pasted_and_undo_takes_the_image_away,
    seeds_are_looked_at_undo_leaves_them_and_one_starts_the_job,
    one_undo_step_takes_the_result_back_and_one_brings_it_again,
    undo_while_it_streams_keeps_the_geometry,
    undo_past_its_creation_takes_it_away_and_redo_brings_it_back,
    edit_mode_holds_it_and_says_so,
    a_deleted_object_is_put_back_and_undo_of_the_deletion_works_too,
    loading_a_file_while_it_streams_finds_the_job_again,
    a_render_in_the_background_holds_it,
    cancel_takes_it_away,
    a_server_that_is_killed_and_comes_back_loses_nothing,
    an_error_stands_below_the_list_with_what_mends_it,
    the_preferences_show_servers_and_backend,
    no_python_thread_was_started_and_no_error_logged,
)


def play():
    """All scenarios, one after another; a failed one does not stop the rest."""
    chosen = os.environ.get("DREAMLIFT_TEST_ONLY", "").split(",") if os.environ.get("DREAMLIFT_TEST_ONLY") else None
    for scenario in SCENARIOS:
        if chosen is not None and not any(word in scenario.__name__ for word in chosen):
            continue
        started = time.monotonic()
        try:
            yield from scenario()
            REPORT[scenario.__name__] = ""
        except Exception:
            REPORT[scenario.__name__] = traceback.format_exc()
            yield from ask(do="shot", name=f"failed_{scenario.__name__}")
            for job in unfinished_jobs():
                yield from end(job)
        print(scenario.__name__, f"{time.monotonic() - started:.1f} s", REPORT[scenario.__name__], flush=True)
        (FOLDER / "report.json").write_text(json.dumps(REPORT))


def start():
    view = bpy.context.preferences.view
    view.show_splash = False
    view.ui_scale = 0.85
    bpy.context.preferences.system.use_online_access = True  # installing asks for it; the first scenario needs it off
    install(ZIP)
    bpy.context.preferences.system.use_online_access = bool(os.environ.get("DREAMLIFT_TEST_ONLY"))
    bpy.app.timers.register(Player(), persistent=True)


class Player:
    """The timer that plays on; a step that raises ends the play with a trace on the console."""

    def __init__(self):
        self.steps = play()

    def __call__(self):
        try:
            next(self.steps)
        except StopIteration:
            (FOLDER / "report.json").write_text(json.dumps({**REPORT, "ended": ""}))
            bpy.ops.wm.quit_blender()
            return None
        return 0.03


bpy.app.timers.register(start, first_interval=1.0)
