"""A small renderer: meshes in the camera's optical frame to pictures, with light and shadows.

OpenGL 3.3 through moderngl on EGL, without a display; Mesa's llvmpipe will do. Colours are
linear inside and sRGB outside. Needed for making data only (requirements/render.txt).
"""

from dataclasses import dataclass, field

import numpy as np

from . import shaders

TEXTURE_SIZE = 128


@dataclass(eq=False)
class Mesh:
    """Something to draw.

    Args:
        vertices, normals: (V, 3) m, optical frame.
        rest: (V, 3) m, where patterns and folds hang on to.
        colour: (V, 3) linear 0..1.
        faces: (F, 3).
        cut: (V,) m; nothing is drawn where it is negative.
        layer, scale, patterned: texture layer, repeats per metre, its share of the colour.
        wrinkles, gloss, wrap: 0..1.
        identity: 0 things, 1.. people.
        catcher: > 0: an invisible floor that only shows shadows, so dark.
        casts: whether it throws a shadow.
    """

    vertices: np.ndarray
    normals: np.ndarray
    rest: np.ndarray
    colour: np.ndarray
    faces: np.ndarray
    cut: np.ndarray | None = None
    layer: int = 0
    scale: float = 1.0
    patterned: float = 0.0
    wrinkles: float = 0.0
    gloss: float = 0.0
    wrap: float = 0.0
    identity: int = 0
    catcher: float = 0.0
    casts: bool = True

    def packed(self):
        """(V, 13) float32 as the shaders take it."""
        cut = np.ones(len(self.vertices)) if self.cut is None else self.cut
        return np.concatenate((self.vertices, self.normals, self.rest, self.colour,
                               cut[:, None]), 1).astype(np.float32)


@dataclass
class Light:
    """Light of a scene; colours linear, directions towards the light, optical frame."""

    direction: tuple = (0.3, -0.9, -0.4)
    colour: tuple = (0.9, 0.88, 0.85)
    sky: tuple = (0.5, 0.5, 0.52)
    ground: tuple = (0.25, 0.24, 0.22)
    up: tuple = (0.0, -1.0, 0.0)
    extra: dict = field(default_factory=dict)


class Renderer:
    """Draws meshes over a photo.

    Args:
        textures: (L, TEXTURE_SIZE, TEXTURE_SIZE, 3) uint8 RGB.
        shadow: side of the shadow map.
        samples: a pixel, to smooth edges; 0 is faster by half, and softens edges afterwards.

    Raises:
        ImportError: moderngl is missing. RuntimeError: no EGL context; both say what to do.
    """

    def __init__(self, textures, shadow=1024, samples=4):
        try:
            import moderngl
        except ImportError as error:
            raise ImportError('rendering needs moderngl: pip install --no-deps -r '
                              'requirements/render.txt') from error
        try:
            self.gl = moderngl.create_context(standalone=True, backend='egl', require=330)
        except Exception as error:
            raise RuntimeError(f'no OpenGL 3.3 context on EGL ({error}); Debian and Ubuntu: '
                               'apt install libegl1 libgl1-mesa-dri libgles2') from error
        gl, self._samples = self.gl, samples
        self._shade = gl.program(vertex_shader=shaders.VERTEX, fragment_shader=shaders.SHADE)
        self._identity = gl.program(vertex_shader=shaders.VERTEX, fragment_shader=shaders.IDENTITY)
        self._depth = gl.program(vertex_shader=shaders.DEPTH_VERTEX, fragment_shader=shaders.DEPTH)
        self._back = gl.program(vertex_shader=shaders.BACK_VERTEX, fragment_shader=shaders.BACK)
        corners = gl.buffer(np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], 'f4').tobytes())
        self._quad = gl.vertex_array(self._back, [(corners, '2f', 'in_corner')])
        textures = np.ascontiguousarray(textures, dtype=np.uint8)
        self._patches = gl.texture_array((TEXTURE_SIZE, TEXTURE_SIZE, len(textures)), 3,
                                         textures.tobytes(), alignment=1)
        self._patches.build_mipmaps()
        grain = np.random.default_rng(0).integers(0, 256, (32, 32, 32)).astype(np.uint8)
        self._grain = gl.texture3d((32, 32, 32), 1, grain.tobytes(), alignment=1)
        self._shadow = gl.depth_texture((shadow, shadow))
        self._shadow.compare_func = '<='
        self._shadow.repeat_x = self._shadow.repeat_y = False
        self._shadow_target = gl.framebuffer(depth_attachment=self._shadow)
        self._targets = {}

    def _target(self, width, height):
        if (width, height) not in self._targets:
            gl, size = self.gl, (width, height)
            n = self._samples
            many = gl.framebuffer([gl.renderbuffer(size, 3, samples=n)],
                                  gl.depth_renderbuffer(size, samples=n))
            one = gl.framebuffer([gl.renderbuffer(size, 3)])
            known = gl.framebuffer([gl.texture(size, 2, dtype='f4')],
                                   gl.depth_renderbuffer(size))
            self._targets[width, height] = many, one, known
        return self._targets[width, height]

    def draw(self, meshes, k, width, height, light, photo=None, window=(0, 0, 1, 1),
             centre=(0, 0, 3), radius=2.0, pictures=True):
        """Draw.

        Args:
            meshes: list of Mesh.
            k: (3, 3) intrinsics, px.
            width, height: px.
            light: Light.
            photo: (h, w, 3) uint8 BGR behind everything, or None for black.
            window: u0 v0 u1 v1, the part of the photo that fills the picture.
            centre, radius: m, the ball in which shadows are thrown.
            pictures: False leaves the picture out (identity and depth only).

        Returns:
            image (H, W, 3) uint8 BGR or None, identity (H, W) int, depth (H, W) float32 m
            (0 where nothing is).
        """
        gl = self.gl
        many, one, known = self._target(width, height)
        light_matrix = _light_matrix(light.direction, centre, radius)
        camera = (k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5)
        for program in (self._shade, self._identity):
            _set(program, intrinsics=camera, size=(width, height), to_light=light_matrix)
        _set(self._depth, to_light=light_matrix)
        held, arrays = [], []
        for mesh in meshes:
            vbo = gl.buffer(mesh.packed().tobytes())
            ibo = gl.buffer(np.ascontiguousarray(mesh.faces, dtype=np.int32).tobytes())
            held += [vbo, ibo]
            full = [(vbo, '3f 3f 3f 3f 1f', 'in_position', 'in_normal', 'in_rest', 'in_colour',
                     'in_field')]
            flat = [(vbo, '3f 36x 1f', 'in_position', 'in_field')]
            arrays.append((mesh, gl.vertex_array(self._shade, full, ibo, skip_errors=True),
                           gl.vertex_array(self._identity, full, ibo, skip_errors=True),
                           gl.vertex_array(self._depth, flat, ibo)))
        gl.enable(gl.DEPTH_TEST)
        image = None
        if pictures:
            self._shadow_target.use()
            self._shadow_target.clear(depth=1.0)
            for mesh, _, _, shadow in arrays:
                if mesh.casts:
                    shadow.render()
            many.use()
            many.clear(0, 0, 0, depth=1.0)
            if photo is not None:
                held += self._draw_back(photo, window)
            self._patches.use(0)
            self._shadow.use(1)
            self._grain.use(3)
            _set(self._shade, patches=0, shadow_map=1, grain=3, light=_unit(light.direction),
                 light_colour=light.colour, up=_unit(light.up), sky=light.sky,
                 ground=light.ground)
            for mesh, shade, _, _ in sorted(arrays, key=lambda a: a[0].catcher > 0):
                _set(self._shade, layer=mesh.layer, scale=mesh.scale, patterned=mesh.patterned,
                     wrinkles=mesh.wrinkles, gloss=mesh.gloss, wrap=mesh.wrap,
                     catcher=mesh.catcher)
                if mesh.catcher > 0:
                    gl.enable(gl.BLEND)
                shade.render()
                gl.disable(gl.BLEND)
            gl.copy_framebuffer(one, many)
            raw = np.frombuffer(one.read(components=3, alignment=1), np.uint8)
            image = raw.reshape(height, width, 3)[:, :, ::-1].copy()
        known.use()
        known.clear(0, 0, 0, 0, depth=1.0)
        for mesh, _, identity, _ in arrays:
            if mesh.catcher == 0:
                _set(self._identity, identity=mesh.identity)
                identity.render()
        raw = np.frombuffer(known.read(components=2, dtype='f4', alignment=1), np.float32)
        raw = raw.reshape(height, width, 2)
        if pictures and self._samples == 0:
            image = softened(image, raw)
        for _, *vaos in arrays:
            held += vaos
        for thing in reversed(held):
            thing.release()
        return image, np.rint(raw[..., 0]).astype(int), raw[..., 1].copy()

    def _draw_back(self, photo, window):
        gl = self.gl
        h, w = photo.shape[:2]
        texture = gl.texture((w, h), 3, np.ascontiguousarray(photo[:, :, ::-1]).tobytes(),
                             alignment=1)
        texture.repeat_x = texture.repeat_y = False
        texture.use(2)
        _set(self._back, photo=2, window=tuple(window))
        gl.disable(gl.DEPTH_TEST)
        self._quad.render(gl.TRIANGLE_STRIP)
        gl.enable(gl.DEPTH_TEST)
        return [texture]


def softened(image, known):
    """Edges of things smoothed, where they were drawn with one sample a pixel.

    Args:
        image: (H, W, 3) uint8; known: (H, W, 2) identity and depth.
    """
    import cv2
    depth = np.where(known[..., 1] > 0, known[..., 1], shaders.FAR)
    wide = cv2.dilate(depth, np.ones((2, 2))) / cv2.erode(depth, np.ones((2, 2))) > 1.03
    soft = cv2.GaussianBlur(image, (0, 0), 0.75)
    return np.where(cv2.dilate(wide.astype(np.uint8), np.ones((2, 2)))[..., None] > 0, soft,
                    image)


def _unit(v):
    v = np.asarray(v, dtype=float)
    return tuple(v / np.linalg.norm(v))


def _set(program, **values):
    """Uniforms that the compiler found unused are not there: leave them."""
    for name, value in values.items():
        if name in program:
            if isinstance(value, np.ndarray):
                program[name].write(value.astype('f4').T.tobytes())
            else:
                program[name].value = value


def _light_matrix(direction, centre, radius):
    z = np.array(_unit(direction))
    x = np.cross(z, [0.3, 0.2, 0.9])
    x /= np.linalg.norm(x)
    r = np.stack((x, np.cross(z, x), -z)) / radius
    m = np.eye(4)
    m[:3, :3] = r
    m[2, :3] *= 0.5     # what stands towards the light, outside of the ball, throws shadows too
    m[:3, 3] = -m[:3, :3] @ np.asarray(centre, dtype=float)
    return m
