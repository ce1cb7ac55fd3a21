"""The programs of the renderer, GLSL 3.30. Positions are in the optical frame, metres."""

#: What is nearer or further than this, in metres, is not drawn.
NEAR, FAR = 0.1, 60.0

VERTEX = '''
#version 330
uniform vec4 intrinsics;  // fx, fy, cx + 0.5, cy + 0.5, pixels
uniform vec2 size;
uniform mat4 to_light;
in vec3 in_position; in vec3 in_normal; in vec3 in_rest; in vec3 in_colour; in float in_field;
out vec3 position; out vec3 normal; out vec3 rest; out vec3 colour; out float cut;
out vec4 lit;
void main() {
    position = in_position; normal = in_normal; rest = in_rest; colour = in_colour;
    cut = in_field;
    lit = to_light * vec4(in_position, 1.0);
    float z = in_position.z;
    vec2 px = intrinsics.xy * in_position.xy + intrinsics.zw * z;
    gl_Position = vec4(2.0 * px / size - z, (NEAR_FAR_A) * z - (NEAR_FAR_B), z);
}
'''.replace('NEAR_FAR_A', f'{(FAR + NEAR) / (FAR - NEAR):.8f}').replace(
    'NEAR_FAR_B', f'{2 * FAR * NEAR / (FAR - NEAR):.8f}')

SHADE = '''
#version 330
uniform sampler2DArray patches;
uniform sampler2DShadow shadow_map;
uniform sampler3D grain;
uniform vec3 light; uniform vec3 light_colour; uniform vec3 up;
uniform vec3 sky; uniform vec3 ground;
uniform float layer; uniform float scale; uniform float patterned;
uniform float wrinkles; uniform float gloss; uniform float wrap; uniform float catcher;
in vec3 position; in vec3 normal; in vec3 rest; in vec3 colour; in float cut; in vec4 lit;
out vec4 fragment;

float noise(vec3 x) { return texture(grain, x / 32.0).r; }
float folds(vec3 p) { return noise(p * vec3(14, 14, 9)) + 0.4 * noise(p * vec3(31, 31, 22)); }

void main() {
    if (cut < 0.0) discard;
    float shadow = 0.0;
    vec3 s = lit.xyz / lit.w * 0.5 + 0.5;
    if (all(greaterThan(s, vec3(0.0))) && all(lessThan(s, vec3(1.0)))) {
        vec2 texel = 1.4 / vec2(textureSize(shadow_map, 0));
        for (int i = 0; i < 5; i++)   // a cross
            shadow += 0.2 * texture(shadow_map, vec3(s.xy + texel * vec2(
                i == 1 ? 1 : i == 2 ? -1 : 0, i == 3 ? 1 : i == 4 ? -1 : 0), s.z - 0.0025));
    } else shadow = 1.0;
    if (catcher > 0.0) { fragment = vec4(vec3(0.0), catcher * (1.0 - shadow)); return; }
    vec3 n = normalize(normal), view = normalize(-position);
    if (wrinkles > 0.0) {
        float e = 0.012, f0 = folds(rest);
        vec3 g = vec3(folds(rest + vec3(e, 0, 0)) - f0, folds(rest + vec3(0, e, 0)) - f0,
                      folds(rest + vec3(0, 0, e)) - f0) / e;
        vec3 dpx = dFdx(rest), dpy = dFdy(rest);
        vec3 bump = dFdx(position) * dot(g, dpx) / max(dot(dpx, dpx), 1e-9)
                  + dFdy(position) * dot(g, dpy) / max(dot(dpy, dpy), 1e-9);
        bump *= length(dpx) / max(length(dFdx(position)), 1e-6);
        n = normalize(n - wrinkles * 0.05 * clamp(bump, -12.0, 12.0));
    }
    if (dot(n, view) < 0.0) n = -n;
    vec3 albedo = colour;
    if (patterned > 0.0) {
        vec3 w = abs(normalize(cross(dFdx(rest), dFdy(rest))));
        w = pow(w, vec3(6.0)); w /= w.x + w.y + w.z + 1e-6;
        vec3 p = rest * scale;
        vec3 t = texture(patches, vec3(p.yz, layer)).rgb * w.x
               + texture(patches, vec3(p.xz, layer)).rgb * w.y
               + texture(patches, vec3(p.xy, layer)).rgb * w.z;
        albedo = mix(albedo, t * t, patterned);
    }
    float facing = (dot(n, light) + wrap) / (1.0 + wrap);
    vec3 direct = light_colour * max(facing, 0.0) * shadow;
    vec3 ambient = mix(ground, sky, 0.5 + 0.5 * dot(n, up));
    ambient *= 0.75 + 0.25 * max(dot(n, view), 0.0);   // creases and rims are darker
    vec3 c = albedo * (direct + ambient);
    float h = max(dot(n, normalize(light + view)), 0.0);
    c += gloss * light_colour * shadow * pow(h, 30.0);
    fragment = vec4(sqrt(clamp(c, 0.0, 1.0)), 1.0);
}
'''

IDENTITY = '''
#version 330
uniform float identity;
in vec3 position; in vec3 normal; in vec3 rest; in vec3 colour; in float cut; in vec4 lit;
out vec4 fragment;
void main() {
    if (cut < 0.0) discard;
    fragment = vec4(identity, position.z, 0.0, 1.0);
}
'''

DEPTH_VERTEX = '''
#version 330
uniform mat4 to_light;
in vec3 in_position; in float in_field;
out float cut;
void main() { cut = in_field; gl_Position = to_light * vec4(in_position, 1.0); }
'''
DEPTH = '''
#version 330
in float cut;
void main() { if (cut < 0.0) discard; }
'''
BACK_VERTEX = '''
#version 330
uniform vec4 window;  // u0, v0, u1, v1 of the photo
in vec2 in_corner;
out vec2 uv;
void main() {
    uv = mix(window.xy, window.zw, 0.5 * in_corner + 0.5);
    gl_Position = vec4(in_corner, 0.0, 1.0);
}
'''
BACK = '''
#version 330
uniform sampler2D photo;
in vec2 uv;
out vec4 fragment;
void main() { fragment = vec4(texture(photo, uv).rgb, 1.0); }
'''
