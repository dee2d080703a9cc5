// What kernels that search take by value, and the records that their buffers hold. The host
// includes this file too (search_records.h), so that both mean the same: only int, uint, ulong and
// float, the widest first.

// Queries and what they are ranked by and rotated into.
typedef struct {
    float scale;      // of the lattice
    int n;            // queries
    int d;            // components
    int dp;           // with padding
    int m;            // anchors
    int factor;       // of dot products in scores
    int score_stride; // a query's scores, padded to TILE
    int frames;
    int slots;          // axes of a frame, some of them empty
    int rotated_stride; // these padded to TILE
    int most;           // queries that a frame has room for in frame_queries
    int parts;          // bytes of a component for rotation: 2, or 3 if it is fine
    int turned;         // of these, which frames may take fewer of
} RankShape;

// Lists, and the choice of those that are probed.
typedef struct {
    int m;
    int nprobe;
    int score_stride;
    int frames;
    int most; // queries that a frame has room for in frame_queries
} ProbeShape;

// Regions of anchors, and how many of them a query looks into.
typedef struct {
    int m;
    int score_stride;
    int regions;
    int region_stride; // a query's scores of these
    int visited;
} RegionShape;

// Lists of codes, and how distances to them are estimated.
typedef struct {
    ulong stride; // estimates of a query
    int m;
    int nprobe;
    int fields;
    int code_size;
    int code_bytes; // without factors
    int dp;
    int slots;
    int frames;
    int rotated_stride;
    int inner_product;
    uint chunk;   // vectors of a task
    float energy; // of the estimator, as c and most_distance
    float c;
    float most_distance;
    float usual_length;
} ScanShape;

// Words, and how their tables are made.
typedef struct {
    int blocks;
    int few_blocks; // entries may be finer than 16 bits
    int factor_bytes;
    int norms;      // how words' norms count: not (0), as they are (1), by the query's distance (2)
    int table_size; // uints from one work-group's tables to the next one's, 0 in local memory
    float limit;    // of a residual's rounded components
    float unit;     // of the words' components
    float usual;    // norm, from which norms count by the query's distance
    float room;     // of the sums of entries
} WordShape;

// The choice of the best hits.
typedef struct {
    ulong stride; // estimates of a query
    int nprobe;
    int k;
    int capacity; // hits that are compared with each other
    int wide_ids;
    int labels; // ids (0), list << 32 | offset (1), or the place among the probed lists in front
                // (2)
} HitShape;

// What a query's side of levels is made of, in each frame.
typedef struct {
    int fields; // of four levels, or pieces of levels
    int slots;
    int frames;
    int stride; // of a turned query
    int most;   // queries that a frame has room for in frame_queries
    float most_weight;
} WeighShape;

// Refining, and the codes of both tiers.
typedef struct {
    int nprobe;
    int refined; // hits of a query, at most
    int k;
    int as_places;
    int wide_ids;
    int frames;
    int fields; // of the first tier
    int code_size;
    int code_bytes;    // without factors
    int second_fields; // as fields
    int second_stride; // bytes of a code here, which are more than it has
    int second_bytes;  // without factors
    int factor_bytes;  // of it
    int rest_bits;
    int inner_product;
    float start_share;
} RefineShape;

// What goes by a whole query, of QueryHead.
typedef struct {
    float rank_scale;
    float rank_norm;
    float rotation_scale;
    float unit;
    float penalty;
    float norm;
    int rank_shift;
    int rank_far;
} Head;

// A field of the codes.
typedef struct {
    uint row;   // offset of its row in a block
    uint bits;  // the row's lanes << 16 | whether it is the row's first << 8 | shift of the codes
    uint mask;  // of the shifted codes
    uint index; // among the fields, and so where its slots are
} PackedField;

// What a step of gamma contributes.
typedef struct {
    float miss;  // 1 - gamma
    float own;   // what |r|^2 alone adds
    float share; // what the dot product is taken times
    float far;   // |r^|^2 / |r|^2 of unusually long vectors
} GammaStep;

// A list, whatever it holds.
typedef struct {
    float scale;  // of its vectors' levels
    float length; // |r| of l = 1
    uint frame;
} ListTraits;

// A query that probes a list.
typedef struct {
    uint query;
    uint start; // of the list's estimates among the query's
} Pair;

// What weighed levels are worth: twice a sum less `middle`, times mantissa 2^exponent, which is a
// double.
typedef struct {
    ulong mantissa; // of 53 bits, or 0
    int exponent;
    int middle;
} Weighed;

// Some pairs of a list and some of its vectors.
typedef struct {
    uint list;
    uint block; // the list's first
    uint pair;  // the first one
    uint pairs;
    uint first; // vector
    uint last;  // one beyond
} Task;
